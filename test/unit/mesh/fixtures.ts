// Meshes as unit tests write them: what does not matter has defaults.

import { type IpAddress, parseAddress } from "../../../src/mesh/address.ts";
import type { MeshSnapshot, Service, ServicePort, Workload } from "../../../src/mesh/snapshot.ts";

export function at(text: string): IpAddress {
  return parseAddress(text)!;
}

export function workload(name: string, addresses: readonly string[], rest: Partial<Workload> = {}): Workload {
  return {
    name,
    namespace: "default",
    serviceAccount: "default",
    node: "a",
    zone: undefined,
    addresses: addresses.map(at),
    isReady: true,
    ports: [],
    ...rest,
  };
}

type Port = Pick<ServicePort, "port" | "targetPort"> & Partial<ServicePort>;

/** `endpoints`: names or labels. */
export function service(
  name: string,
  addresses: readonly string[],
  endpoints: readonly string[],
  rest: Partial<Omit<Service, "ports">> & { ports?: readonly Port[] } = {},
): Service {
  const { ports = [{ port: 80, targetPort: 8080 }], ...others } = rest;
  return {
    name,
    namespace: "default",
    addresses: addresses.map(at),
    ports: ports.map((it) => ({ name: undefined, protocol: undefined, ...it })),
    endpoints: endpoints.map((it) => (it.includes("/") ? it : `default/${it}`)),
    notReady: [],
    preference: "zone",
    hasAffinity: false,
    ...others,
  };
}

export function snapshot(
  workloads: readonly Workload[],
  services: readonly Service[],
  rest: Partial<MeshSnapshot> = {},
): MeshSnapshot {
  return { version: 1, trustDomain: "cluster.local", node: "a", zone: undefined, workloads, services, ...rest };
}
