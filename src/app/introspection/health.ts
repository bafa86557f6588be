// Whether the process can still do its work, and how each worker is: what /live and `culvert status` say.

import type { Health } from "../../admin/admin-server.ts";
import type { Capture } from "../../kernel/capture.ts";
import { heartbeatAgesMs, heartbeatStaleMs } from "../../kernel/judge.ts";
import type { WorkerReport } from "../../telemetry/reports.ts";
import { workerStats } from "../../telemetry/worker-stats.ts";
import type { Descriptors } from "./descriptors.ts";

/** What a node needs to accept, connect and answer a probe even when applications hold all they can. */
const reservedDescriptors = 64;

export function workerReports(capture: Capture, stats: readonly Float64Array[]): WorkerReport[] {
  const ages = heartbeatAgesMs(capture.maps);
  return stats.map((row, worker) => {
    const age = ages[worker];
    return {
      worker,
      heartbeatAgeMs: age === undefined ? null : Math.max(Math.round(age), 0),
      isStale: age === undefined || age >= heartbeatStaleMs,
      openSockets: statOf(row, "OpenConnections"),
      blocksInUse: statOf(row, "BlocksInUse"),
    };
  });
}

export function statOf(row: Float64Array, stat: string): number {
  return row[workerStats.findIndex((each) => each.stat === stat)] ?? 0;
}

/** Not so when a worker hangs or no descriptor is left: nothing of it mends itself. */
export function liveness(workers: readonly WorkerReport[], { open, limit }: Descriptors): Health {
  const reasons = workers
    .filter(({ isStale }) => isStale)
    .map(({ worker, heartbeatAgeMs }) => `worker ${worker} hangs: ${sinceText(heartbeatAgeMs)}`);
  if (open > limit - reservedDescriptors) {
    reasons.push(`out of descriptors: ${open} of ${limit} are open; raise the limit (LimitNOFILE) or run fewer pods`);
  }
  return { ok: reasons.length === 0, reason: reasons.join("; ") };
}

function sinceText(ageMs: number | null): string {
  return ageMs === null ? "it has never said that it runs" : `for ${(ageMs / 1000).toFixed(1)} s it has not run`;
}
