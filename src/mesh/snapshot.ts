// What the mesh looks like at one moment: plain, immutable, versioned data that discovery makes, the main thread posts and
// every worker indexes (mesh-index.ts). It survives postMessage: no class, function or reference cycle.

import type { IpAddress } from "./address.ts";
import type { Protocol } from "./protocol.ts";

export interface Workload {
  readonly name: string;
  readonly namespace: string;
  readonly node: string;
  /** At least one; no two workloads share one. */
  readonly addresses: readonly IpAddress[];
}

export interface ServicePort {
  readonly port: number;
  /** The port on the workloads behind the service. */
  readonly targetPort: number;
  /** Declared; undefined: found out by looking at the first bytes. */
  readonly protocol?: Protocol | undefined;
}

export interface Service {
  readonly name: string;
  readonly namespace: string;
  /** Virtual: no socket has them. No two services share one. */
  readonly addresses: readonly IpAddress[];
  readonly ports: readonly ServicePort[];
  /** Indices into the snapshot's workloads. */
  readonly endpoints: readonly number[];
}

export interface MeshSnapshot {
  /** Grows with every change. */
  readonly version: number;
  /** The name of the node that this process serves. */
  readonly node: string;
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
}

/** `namespace/name`: how a workload or a service is called in logs, metrics and mesh.yaml. */
export function labelOf(object: { readonly namespace: string; readonly name: string }): string {
  return `${object.namespace}/${object.name}`;
}
