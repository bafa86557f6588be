// Looks after the node once a second and says in the log, and so in `culvert events`, what nobody else would: a worker
// that hangs or runs again, and resources that run out.

import { heartbeatStaleMs } from "../../kernel/judge.ts";
import { directions, sumCounters } from "../../telemetry/counters.ts";
import { statOf, workerReports } from "./health.ts";
import type { NodeView } from "./node-view.ts";

const intervalMs = 1000;

/** Ends with `stop`; the process does not wait for it. */
export function watchNode(view: NodeView): { stop(): void } {
  const stale = new Set<number>();
  const lacks = lackCounts(view);
  const timer = setInterval(() => {
    watchWorkers(view, stale);
    watchLacks(view, lacks);
  }, intervalMs).unref();
  return { stop: () => clearInterval(timer) };
}

function watchWorkers(view: NodeView, stale: Set<number>): void {
  for (const { worker, isStale, heartbeatAgeMs } of workerReports(view.capture, view.stats)) {
    if (isStale === stale.has(worker)) continue;
    if (isStale) {
      stale.add(worker);
      view.log.logger.error(
        { worker, silentMs: heartbeatAgeMs, afterMs: heartbeatStaleMs },
        "worker hangs; it gets no new connections; restart this node",
      );
    } else {
      stale.delete(worker);
      view.log.logger.warn({ worker }, "worker runs again");
    }
  }
}

/** How often each resource was lacking, by what is said of it. */
function lackCounts({ stats, counters, workers }: NodeView): Map<string, number> {
  const sum = (stat: string) => stats.reduce((total, row) => total + statOf(row, stat), 0);
  const { closed } = sumCounters(counters, workers.size);
  return new Map([
    ["reads were put off: out of blocks", sum("StarvedReads")],
    [
      "connections ended for lack of a port, a descriptor or memory",
      directions.reduce((n, it) => n + closed[it].limit, 0),
    ],
  ]);
}

function watchLacks(view: NodeView, before: Map<string, number>): void {
  for (const [what, count] of lackCounts(view)) {
    const more = count - before.get(what)!;
    before.set(what, count);
    if (more > 0) view.log.logger.warn({ count: more }, what);
  }
}
