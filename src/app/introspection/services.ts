// The services of the mesh with the endpoints that this node's workers would choose from.

import { resolveLabel } from "../../discovery/mesh-references.ts";
import { formatAddress } from "../../mesh/address.ts";
import { labelOf } from "../../mesh/snapshot.ts";
import type { EndpointState, ServicesReport } from "../../telemetry/reports.ts";
import type { NodeView } from "./node-view.ts";
import { askRoutes } from "./routes.ts";

/** `name`: of the one that is wanted, or empty. */
export async function servicesReport(view: NodeView, name: string, limit: number): Promise<ServicesReport> {
  const wanted = name === "" ? undefined : resolveLabel(name, "default");
  const matching = view.snapshot().services.filter((it) => wanted === undefined || labelOf(it) === wanted);
  const shown = matching.slice(0, limit);
  const places = shown.flatMap(({ addresses, ports }) =>
    ports.flatMap(({ port }) => addresses.map((address) => ({ address, port }))),
  );
  const routes = (await askRoutes(view.workers, places)).values();
  const services = shown.map((service) => ({
    name: labelOf(service),
    addresses: service.addresses.map(formatAddress),
    ports: service.ports.map(({ port, targetPort }) => {
      // Both families' addresses of a service lead to the same endpoints, each to its own address of them.
      const endpoints = new Map<string, EndpointState>();
      for (const _ of service.addresses) {
        for (const each of routes.next().value?.endpoints ?? []) endpoints.set(each.address, each);
      }
      return { port, targetPort, endpoints: [...endpoints.values()] };
    }),
  }));
  return { services, matching: matching.length };
}
