// Where a captured connection goes, before one of several endpoints is drawn: pure, and asked by the pipeline and by
// `culvert why` alike, so that what is told is what happens.

import type { MeshIndex, ServiceTarget } from "../mesh/mesh-index.ts";
import type { Workload } from "../mesh/snapshot.ts";
import type { SocketWords } from "../runtime/connection.ts";
import type { ConnectionRecord } from "../telemetry/access-log.ts";

export type Decision =
  | { readonly to: "service"; readonly service: ServiceTarget }
  /** A workload dialled itself, or a port that its service does not declare. */
  | { readonly to: "workload"; readonly workload: Workload }
  /** An address of a pod CIDR that was not learned yet, or a service's port that is not declared. */
  | { readonly to: "unknown" };

export function decide(index: MeshIndex, { w0, w1, w2, w3, port }: SocketWords): Decision {
  const service = index.serviceAt(w0, w1, w2, w3, port);
  if (service !== undefined) return { to: "service", service };
  const workload = index.workloadAt(w0, w1, w2, w3);
  return workload === undefined ? { to: "unknown" } : { to: "workload", workload };
}

/** `node`: the one that this process serves. */
export function transportTo(workload: Workload | undefined, node: string): ConnectionRecord["transport"] {
  return workload?.node === node ? "local" : "plain";
}
