// What would become of a connection, and why: the hooks' judgement out of the maps they judge by (kernel/judge.ts), then
// the workers' own decision (proxy/decide.ts), then the judgement at the pod where it arrives.

import { PageRefusal } from "../../admin/admin-server.ts";
import { resolveLabel } from "../../discovery/mesh-references.ts";
import { nearest } from "../../discovery/nearest.ts";
import { judgeInbound, judgeOutbound } from "../../kernel/judge.ts";
import { type Reason, reasons } from "../../kernel/reasons.ts";
import {
  cidrContains,
  formatSocketAddress,
  type IpAddress,
  parseAddress,
  sameAddress,
  unroutableKind,
} from "../../mesh/address.ts";
import { labelOf, type MeshSnapshot, type Workload } from "../../mesh/snapshot.ts";
import type { NetnsCookie } from "../../runtime/native.ts";
import type { JudgementReport, Outcome, RouteState, WhyConnection, WhyReport } from "../../telemetry/reports.ts";
import { namespaceWith } from "../processes.ts";
import type { NodeView } from "./node-view.ts";
import { askRoutes } from "./routes.ts";

/** `to`: `<address|service>:<port>`. */
export async function why(view: NodeView, workloadName: string, to: string): Promise<WhyReport> {
  const workload = findWorkload(view.snapshot(), workloadName);
  const label = labelOf(workload);
  const destinations = destinationsOf(view.snapshot(), to, workload.namespace);
  const cookie = view.pods.enrolled(label)?.cookie ?? unenrolledCookie(view, workload);
  const judged = destinations.map((destination) => ({
    destination,
    connect: judgeOutbound(view.capture.maps, cookie, destination.address, destination.port),
  }));
  const captured = judged.filter(({ connect }) => outcomeOf(connect) === "captured");
  const routes = await askRoutes(
    view.workers,
    captured.map(({ destination }) => ({ ...destination, client: addressLike(workload, destination.address) })),
  );
  const connections = judged.map(({ destination, connect }): WhyConnection => {
    const { address, port } = destination;
    const isCaptured = outcomeOf(connect) === "captured";
    const route = isCaptured ? routes.shift() : undefined;
    const arrival = route?.to === "service" ? undefined : arrivalOf(view, workload, address, port, isCaptured);
    return {
      destination: formatSocketAddress(address, port),
      what: describe(view, address, port),
      connect: report(connect),
      route,
      arrival,
      outcome: inTheEnd(outcomeOf(connect), route, arrival?.outcome),
    };
  });
  return { workload: label, enrolled: view.pods.enrolled(label) !== undefined, connections };
}

function findWorkload({ node, workloads }: MeshSnapshot, name: string): Workload {
  const label = resolveLabel(name, "default");
  const workload = workloads.find((it) => labelOf(it) === label);
  if (workload === undefined) {
    const meant = nearest(label, workloads.map(labelOf));
    throw new PageRefusal(
      404,
      `no workload is called ${label}${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    );
  }
  if (workload.node !== node) {
    throw new PageRefusal(404, `workload ${label} is on node ${workload.node}; ask the Culvert of that node`);
  }
  return workload;
}

interface Destination {
  readonly address: IpAddress;
  readonly port: number;
}

/** The addresses of a service or, as it may be dialled too, of a workload. */
function destinationsOf({ services, workloads }: MeshSnapshot, to: string, namespace: string): Destination[] {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(to) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65535) {
    throw new PageRefusal(
      400,
      `${to} is no destination; write an address or a service and a port: 10.0.0.1:80, [fd00::1]:80, web:80`,
    );
  }
  const address = parseAddress(host);
  if (address !== undefined) return [{ address, port }];
  const label = resolveLabel(host, namespace);
  const object = [...services, ...workloads].find((it) => labelOf(it) === label);
  if (object !== undefined) return object.addresses.map((each) => ({ address: each, port }));
  const meant = nearest(label, [...services, ...workloads].map(labelOf));
  throw new PageRefusal(404, `no service is called ${label}${meant === undefined ? "" : `; did you mean ${meant}?`}`);
}

/** Of a namespace that could not be enrolled or is not meant to be: the maps may know it all the same. */
function unenrolledCookie(view: NodeView, { addresses, ...workload }: Workload): NetnsCookie | undefined {
  const declared = view.localPods().find(({ name }) => name === labelOf(workload))?.netnsPath;
  for (const path of declared === undefined ? namespaceWith(addresses[0]!) : [declared]) {
    try {
      return view.capture.cookies.at(path);
    } catch {
      // That it cannot be opened is why it is not enrolled, which `pods` says; or the process has ended.
    }
  }
  return undefined;
}

/** The one that its connections to that address come from. */
function addressLike({ addresses }: Workload, address: IpAddress): IpAddress | undefined {
  return addresses.find(({ family }) => family === address.family);
}

function describe(view: NodeView, address: IpAddress, port: number): string {
  const { services, workloads } = view.snapshot();
  const isOf = ({ addresses }: { addresses: readonly IpAddress[] }) => addresses.some((it) => sameAddress(it, address));
  const service = services.find(isOf);
  if (service !== undefined) {
    const isDeclared = service.ports.some((it) => it.port === port);
    return `service ${labelOf(service)}, port ${port}${isDeclared ? "" : ", which it does not declare"}`;
  }
  const workload = workloads.find(isOf);
  if (workload !== undefined) return `workload ${labelOf(workload)} on node ${workload.node}`;
  const kind = unroutableKind(address);
  if (kind !== undefined) return `a ${kind} address`;
  const isPods = view.config().podCidrs.some((cidr) => cidrContains(cidr, address));
  return isPods ? "an address of the pod CIDRs that no workload has" : "nothing that the mesh knows";
}

/** At a pod of this node; the proxy's own connections are not judged there, but for the mesh's ports. */
function arrivalOf(
  view: NodeView,
  workload: Workload,
  address: IpAddress,
  port: number,
  isCaptured: boolean,
): WhyConnection["arrival"] {
  const source = addressLike(workload, address);
  if (source === undefined) return undefined; // It does not get as far.
  const reason = judgeInbound(view.capture.maps, source, address, port);
  const pod = view.snapshot().workloads.find(({ addresses }) => addresses.some((it) => sameAddress(it, address)));
  if (reason === undefined || pod === undefined) return undefined;
  if (isCaptured && reason !== "deny_no_record") return undefined;
  return { pod: labelOf(pod), ...report(reason) };
}

function inTheEnd(connect: Outcome, route: RouteState | undefined, arrival: Outcome | undefined): Outcome {
  if (route?.to === "service" && !route.endpoints.some(({ isEligible }) => isEligible)) return "refused";
  return connect === "passed" || connect === "captured" ? (arrival ?? connect) : connect;
}

function report(reason: Reason): JudgementReport {
  return { outcome: outcomeOf(reason), reason, meaning: reasons.find(({ name }) => name === reason)!.meaning };
}

function outcomeOf(reason: Reason): Outcome {
  if (reason.startsWith("captured")) return "captured";
  if (reason.startsWith("deny")) return "denied";
  return reason.startsWith("refused") ? "refused" : "passed";
}
