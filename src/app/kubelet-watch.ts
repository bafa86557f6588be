// Keeps the exemption of probes attached while the kubelet's cgroup comes and goes, and says so.

import type { PathWatches } from "../kernel/path-watches.ts";
import type { ProbeExemption } from "../kernel/probe-exemption.ts";
import type { Logger } from "../telemetry/log.ts";

/** inotify tells sooner; this is for what it cannot tell. */
const lookAgainMs = 1_000;
const meanwhile = "meanwhile probes are told by this node's addresses and the workloads' probePorts";

export class KubeletWatch implements Disposable {
  readonly #exemption: ProbeExemption;
  readonly #log: Logger;
  readonly #watch: Disposable;
  readonly #timer: NodeJS.Timeout;
  #problem: string;

  constructor(exemption: ProbeExemption, paths: PathWatches, log: Logger) {
    this.#exemption = exemption;
    this.#log = log;
    this.#problem = "";
    const { cgroup } = exemption;
    if (!exemption.isAttached) log.warn({ cgroup }, `the kubelet's cgroup is not there; ${meanwhile}`);
    this.#watch = paths.watch(cgroup, () => this.#check());
    this.#timer = setInterval(() => this.#check(), lookAgainMs).unref();
  }

  #check(): void {
    const { cgroup } = this.#exemption;
    try {
      for (const change of this.#exemption.check()) {
        if (change === "defunct")
          this.#log.warn({ cgroup }, `the kubelet's cgroup is gone, its hook defunct; ${meanwhile}`);
        else this.#log.info({ cgroup }, `the kubelet's cgroup is there: ${change}`);
      }
      this.#problem = "";
    } catch (err) {
      const { message } = err as Error;
      if (message !== this.#problem)
        this.#log.error({ cgroup, err }, `the kubelet's cgroup cannot be exempted; ${meanwhile}`);
      this.#problem = message;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#watch[Symbol.dispose]();
  }
}
