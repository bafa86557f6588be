// What a worker's streams share. One per worker; the fields change only between turns.

import type { KeptSources } from "../mesh/kept-sources.ts";
import type { MeshIndex } from "../mesh/mesh-index.ts";
import type { Fd } from "../runtime/native.ts";
import type { Reactor } from "../runtime/reactor.ts";
import type { WorkerCounters } from "../telemetry/counters.ts";
import type { OpenConnection } from "../telemetry/reports.ts";
import type { Detection } from "./detection.ts";
import type { ProxiedPod } from "./proxied-pod.ts";
import type { ConnectionFilter } from "./questions.ts";
import type { PodPair, SameNode } from "./same-node.ts";
import type { SourcePorts } from "./source-ports.ts";

export interface OpenStream {
  readonly pod: ProxiedPod;
  /** But for the filter's text. Nothing is allocated. */
  matches(filter: ConnectionFilter): boolean;
  describe(): OpenConnection;
  /** Ends it now, both ways by RST. */
  abort(): void;
}

export interface ProxyContext {
  readonly reactor: Reactor;
  readonly counters: WorkerCounters;
  connectTimeoutMs: number;
  readonly detection: Detection;
  readonly sourcePorts: SourcePorts;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  /** Milliseconds since the epoch; never steps back. */
  readonly now: () => number;
  /** Takes one line per connection; undefined: not wanted. */
  logConnection: ((line: string) => void) | undefined;
  readonly sameNode: SameNode;
  /** Where the kernel keeps the tuples of this process's connections. */
  readonly bypassMap: Fd;
  /** The network between these two rewrites sources. */
  readonly onSourceRewritten: (pair: PodPair) => void;
  /** Takes a line about anything else. */
  readonly logEvent: (level: "info" | "warn", line: string) => void;
  readonly index: MeshIndex;
  keptSources: KeptSources;
  /** The node that this process serves. */
  node: string;
  /** What is open. */
  readonly streams: Set<OpenStream>;
  /** Called when the last one has closed. */
  onIdle: () => void;
}
