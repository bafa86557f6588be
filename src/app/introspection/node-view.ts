// What the pages of the admin socket are made of: a running node, to be read.

import type { Health } from "../../admin/admin-server.ts";
import type { LocalPod, NodeConfig } from "../../discovery/node-config.ts";
import type { Capture } from "../../kernel/capture.ts";
import type { MeshSnapshot } from "../../mesh/snapshot.ts";
import type { NodeLog } from "../../telemetry/log.ts";
import type { Pods } from "../pods.ts";
import type { WorkerPool } from "../worker-pool.ts";

export interface NodeView {
  readonly version: string;
  /** Absolute. */
  readonly configPath: string;
  readonly startedAt: Date;
  /** In force now, as the next two. */
  readonly config: () => NodeConfig;
  readonly snapshot: () => MeshSnapshot;
  /** The workloads of this node that are to be enrolled. */
  readonly localPods: () => readonly LocalPod[];
  readonly pods: Pods;
  readonly workers: WorkerPool;
  readonly capture: Capture;
  /** Of createCounters. */
  readonly counters: SharedArrayBuffer;
  /** A row per worker, ordered as worker-stats.ts. */
  readonly stats: readonly Float64Array[];
  readonly log: NodeLog;
  readonly readiness: () => Health;
}
