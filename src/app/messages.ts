// What the main thread and its workers say to each other. Messages in one direction keep their order.

import type { Cidr, IpAddress, IpFamily } from "../mesh/address.ts";
import type { MeshDelta } from "../mesh/mesh-delta.ts";
import type { ProxiedPod } from "../proxy/proxied-pod.ts";
import type { Part, Question } from "../proxy/questions.ts";
import type { ProxyListener } from "../proxy/worker-proxy.ts";
import type { Fd } from "../runtime/native.ts";

/** A worker's `workerData`. */
export interface WorkerSettings {
  readonly worker: number;
  readonly blocks: number;
  readonly poison: boolean;
  /** createCounters of telemetry/counters.ts. */
  readonly counters: SharedArrayBuffer;
  /** The worker's row of native statistics (runtime/layout.ts). */
  readonly stats: Float64Array;
  readonly connectTimeoutMs: number;
  readonly detectTimeoutMs: number;
  readonly logsConnections: boolean;
  /** createSourcePorts of proxy/source-ports.ts; of all workers together. */
  readonly sourcePorts: SharedArrayBuffer;
  /** Where the kernel keeps the tuples of this process's connections. */
  readonly bypassMap: Fd;
  /** What the worker does when its first connection is accepted: throw, or never return to its loop. */
  readonly failsForTest: "throw" | "busy" | undefined;
}

export type ToWorker =
  | { readonly type: "mesh"; readonly delta: MeshDelta }
  | { readonly type: "connectTimeout"; readonly milliseconds: number }
  | { readonly type: "keptSources"; readonly podCidrs: readonly Cidr[]; readonly nodeAddresses: readonly IpAddress[] }
  | {
      readonly type: "addPod";
      readonly pod: ProxiedPod;
      readonly listeners: readonly ProxyListener[];
      readonly originalDestinationMap: Fd;
    }
  /** The kernel captures it from now on. */
  | { readonly type: "armPod"; readonly podId: number }
  /** `removal`: a number never used before. */
  | { readonly type: "removePod"; readonly podId: number; readonly removal: number; readonly resetsStreams: boolean }
  /** Answered in parts with the same id. */
  | { readonly type: "ask"; readonly id: number; readonly question: Question }
  | { readonly type: "logConnections"; readonly wanted: boolean }
  /** Answer when no stream is open. */
  | { readonly type: "drain" }
  /** Reset what is open. */
  | { readonly type: "abort" }
  | { readonly type: "stop" };

export type FromWorker =
  | { readonly type: "started" }
  | { readonly type: "meshApplied" }
  | { readonly type: "podAdded"; readonly podId: number }
  | { readonly type: "podRemoved"; readonly podId: number }
  /** `keptSources`: there were connections to the pod's application under clients' addresses. */
  | { readonly type: "podIdle"; readonly removal: number; readonly keptSources: boolean }
  /** Of the answer to that question; "answered" follows the last. */
  | { readonly type: "part"; readonly id: number; readonly part: Part }
  | { readonly type: "answered"; readonly id: number }
  | { readonly type: "drained" }
  /** Between these pods the network rewrites sources. */
  | {
      readonly type: "sourceRewritten";
      readonly clientId: number;
      readonly serverId: number;
      readonly family: IpFamily;
    }
  /** Of access-log.ts: what happened, apart from connections. */
  | { readonly type: "event"; readonly level: "info" | "warn"; readonly line: string }
  | { readonly type: "log"; readonly lines: string };
