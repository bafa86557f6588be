// What the mesh looks like at one moment: plain, immutable, versioned data that discovery makes. Workers hold it indexed
// (mesh-index.ts) and get what changed (mesh-delta.ts). It survives postMessage: no class, function or reference cycle.

import type { IpAddress } from "./address.ts";
import type { Protocol } from "./protocol.ts";

export interface WorkloadPort {
  readonly name: string;
  readonly port: number;
}

export interface Workload {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly node: string;
  /** Its own, else its node's; undefined: nowhere in particular. */
  readonly zone: string | undefined;
  /** At least one; no two workloads share one. */
  readonly addresses: readonly IpAddress[];
  /** Whether services may send connections to it. */
  readonly isReady: boolean;
  /** What services may call by name. */
  readonly ports: readonly WorkloadPort[];
}

export interface ServicePort {
  readonly port: number;
  readonly name: string | undefined;
  /** The port on the workloads behind the service, or their name for it. */
  readonly targetPort: number | string;
  /** Declared; undefined: found out by looking at the first bytes. */
  readonly protocol: Protocol | undefined;
}

/** How much nearness counts when an endpoint is chosen: not at all, the client's zone first, or its node and then its zone. */
export const preferences = ["none", "zone", "node"] as const;
export type Preference = (typeof preferences)[number];

export interface Service {
  readonly name: string;
  readonly namespace: string;
  /** Virtual: no socket has them. No two services share one. */
  readonly addresses: readonly IpAddress[];
  readonly ports: readonly ServicePort[];
  /** Labels of the workloads behind it. */
  readonly endpoints: readonly string[];
  /** Of these, those that this service must not use now, however ready they are for others. */
  readonly notReady: readonly string[];
  readonly preference: Preference;
  /** Whether one client address keeps to one endpoint. */
  readonly hasAffinity: boolean;
}

export interface MeshSnapshot {
  /** Grows with every change. */
  readonly version: number;
  readonly trustDomain: string;
  /** The name of the node that this process serves. */
  readonly node: string;
  readonly zone: string | undefined;
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
}

/** `namespace/name`: how a workload or a service is called in logs, metrics and mesh.yaml. */
export function labelOf(object: { readonly namespace: string; readonly name: string }): string {
  return `${object.namespace}/${object.name}`;
}

/** The port that a service's port means on that workload; undefined: it has none of that name. */
export function targetPortOf(workload: Workload, { targetPort }: ServicePort): number | undefined {
  return typeof targetPort === "number" ? targetPort : workload.ports.find((it) => it.name === targetPort)?.port;
}

/** Why the workload gets no connection for the service's port; undefined: it does. */
export function ineligibility(workload: Workload, service: Service, port: ServicePort): string | undefined {
  if (!workload.isReady) return "the workload is not ready";
  if (service.notReady.includes(labelOf(workload))) return "not ready for this service";
  if (targetPortOf(workload, port) === undefined) return `it has no port named ${port.targetPort}`;
  return undefined;
}
