// Says that connections wait because this process is out of descriptors or memory: the kernel keeps them in the accept queues,
// and they are served as soon as there is room again (native/reactor tries ten times a second).

import type { Logger } from "../telemetry/log.ts";
import { workerStats } from "../telemetry/worker-stats.ts";

const periodMs = 1_000;
/** While it goes on it is said again after so long. */
const silenceMs = 10_000;
const statIndex = workerStats.findIndex(({ stat }) => stat === "AcceptErrors");

/** `rows`: the workers' statistics. */
export function watchAcceptErrors(rows: readonly Float64Array[], descriptors: number, log: Logger): Disposable {
  let known = 0;
  let saidMs = Number.NEGATIVE_INFINITY;
  const look = () => {
    const errors = rows.reduce((sum, row) => sum + row[statIndex]!, 0);
    if (errors === known) return;
    known = errors;
    if (performance.now() - saidMs < silenceMs) return;
    saidMs = performance.now();
    log.warn(
      { errors, descriptors },
      "connections wait to be accepted: out of descriptors or memory; raise the limit of open files (LimitNOFILE=, ulimit -n)",
    );
  };
  const timer = setInterval(look, periodMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
