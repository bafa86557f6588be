// Enrolling and withdrawing this node's pods: the kernel's part and the workers' part in the order that leaves no gap.
//
//   enroll:    listeners in the pod ── all workers accept from them ── hooks armed (one map write)
//   withdraw:  hooks disarmed (one map delete) ── handshakes under way end ── accept queues served ── listeners closed
//   update:    the pod's entries replaced; its listeners and what is open stay

import { setTimeout as delay } from "node:timers/promises";
import type { LocalPod } from "../discovery/node-config.ts";
import type { Capture } from "../kernel/capture.ts";
import type { PreparedPod } from "../kernel/pod.ts";
import type { Logger } from "../telemetry/log.ts";
import type { EnrolmentGaps } from "../telemetry/presence-metrics.ts";
import { RewrittenPairs } from "./rewritten-pairs.ts";
import type { WorkerPool } from "./worker-pool.ts";

/** A connection that the hooks diverted before they were disarmed reaches the accept queue within this: it never leaves the machine. */
export const handshakeGraceMs = 50;

const unsentIntervalMs = 100;

export class Pods {
  readonly #capture: Capture;
  readonly #workers: WorkerPool;
  readonly #log: Logger;
  readonly #gaps: EnrolmentGaps;
  /** Between which the network rewrites sources. */
  readonly rewrittenPairs: RewrittenPairs;
  readonly #enrolled: Map<string, PreparedPod>;
  /** Of pods that are withdrawn: until their open connections have ended. */
  readonly #leaving: Set<Promise<void>>;
  /** Strict ones that could not be enrolled. */
  readonly #sealed: Map<string, PreparedPod>;
  /** Why those that are wanted and not enrolled are not, by name. */
  readonly #failed: Map<string, string>;
  #nextListener: number;

  constructor(capture: Capture, workers: WorkerPool, log: Logger, gaps: EnrolmentGaps) {
    this.#capture = capture;
    this.#workers = workers;
    this.#log = log;
    this.#gaps = gaps;
    this.rewrittenPairs = new RewrittenPairs(log);
    this.#enrolled = new Map();
    this.#leaving = new Set();
    this.#sealed = new Map();
    this.#failed = new Map();
    this.#nextListener = 1;
  }

  get count(): number {
    return this.#enrolled.size;
  }

  enrolled(name: string): PreparedPod | undefined {
    return this.#enrolled.get(name);
  }

  get failures(): ReadonlyMap<string, string> {
    return this.#failed;
  }

  /**
   * False when the pod cannot be enrolled: its traffic passes as without Culvert or, if it is strict, fails; the log says why,
   * of a retry that fails for the same reason only at debug.
   */
  async enroll(pod: LocalPod, { isRetry = false } = {}): Promise<boolean> {
    let prepared: PreparedPod | undefined;
    try {
      prepared = this.#capture.pods.prepare(pod);
      this.#sealed.delete(pod.name); // Capture has taken over what that had.
      await this.#workers.addPod({
        type: "addPod",
        pod: {
          id: prepared.id,
          name: pod.name,
          netns: prepared.netns,
          keepsSources: prepared.sourceProblem === undefined,
        },
        listeners: prepared.listeners.map(({ direction, fd }) => ({ id: this.#nextListener++, direction, fd })),
        originalDestinationMap: this.#capture.maps.original_destination.fd,
      });
      const gapSeconds = this.#capture.pods.arm(prepared);
      this.#workers.tell({ type: "armPod", podId: prepared.id });
      if (gapSeconds !== undefined) this.#gaps.observe(gapSeconds);
    } catch (err) {
      const reason = (err as Error).message;
      const isTold = isRetry && this.#failed.get(pod.name) === reason;
      this.#failed.set(pod.name, reason);
      if (prepared !== undefined) await this.#retire(prepared);
      const traffic = this.#capture.rules.deniesUnknown ? "is denied" : "passes unproxied";
      const outcome = this.#seal(pod) ? "what is strict of it is closed" : `its traffic ${traffic}`;
      if (isTold) this.#log.debug({ pod: pod.name, reason }, "pod still not enrolled; tried again");
      else this.#log.error({ pod: pod.name, netns: pod.netnsPath, err }, `pod not enrolled; ${outcome}`);
      return false;
    }
    this.#enrolled.set(pod.name, prepared);
    if (prepared.sourceProblem !== undefined) {
      const why = prepared.sourceProblem;
      this.#log.warn({ pod: pod.name, why }, "applications of the pod see its own address instead of their clients'");
    }
    this.#failed.delete(pod.name);
    this.#log.info({ pod: pod.name, id: prepared.id }, "pod enrolled");
    return true;
  }

  /** False where nothing is strict, or it cannot be reached. */
  #seal(pod: LocalPod): boolean {
    if (!pod.outboundStrict && !pod.inboundStrict) return false;
    try {
      this.#sealed.set(pod.name, this.#capture.pods.seal(pod));
      return true;
    } catch {
      return false; // For the reason for which it was not enrolled.
    }
  }

  #unseal(name: string): void {
    const sealed = this.#sealed.get(name);
    if (sealed === undefined) return;
    this.#sealed.delete(name);
    this.#capture.pods.disarm(sealed);
    this.#capture.pods.release(sealed);
  }

  /** Undefined: not enrolled, or being withdrawn. */
  nameOf(podId: number): string | undefined {
    return [...this.#enrolled.values()].find(({ id }) => id === podId)?.name;
  }

  /** Changes how an enrolled pod is captured. False when that cannot be: it is captured as before, and the log says why. */
  update(pod: LocalPod): boolean {
    const enrolled = this.#enrolled.get(pod.name)!;
    try {
      this.#capture.pods.update(enrolled, pod);
    } catch (err) {
      this.#log.error({ pod: pod.name, err }, "pod not changed; it is captured as before");
      return false;
    }
    this.#log.info({ pod: pod.name }, "pod changed");
    return true;
  }

  /**
   * Of a pod that is not to be captured any more. Open streams go on. `staysClosed`: it is enrolled again under another name
   * or path, and what is strict of it fails meanwhile.
   */
  async withdraw(name: string, { staysClosed = false } = {}): Promise<void> {
    this.#unseal(name);
    this.#failed.delete(name);
    const pod = this.#enrolled.get(name);
    if (pod === undefined) return;
    this.#enrolled.delete(name);
    if (staysClosed) this.#capture.pods.leave(pod);
    else this.#capture.pods.disarm(pod);
    await delay(handshakeGraceMs);
    await this.#retire(pod);
    this.#log.info({ pod: name }, "pod withdrawn");
  }

  /** Open streams go on; new connections pass unproxied or, of strict pods, fail. */
  async withdrawAll(): Promise<void> {
    const pods = [...this.#enrolled.values()];
    this.#enrolled.clear();
    for (const { name } of pods) this.#log.info({ pod: name }, "pod withdrawn");
    for (const pod of pods) this.#capture.pods.leave(pod);
    if (pods.length > 0) await delay(handshakeGraceMs);
    await Promise.all(pods.map((pod) => this.#retire(pod)));
  }

  /** Of a pod whose namespace is gone for everybody else: whatever of it is open here is reset. */
  async withdrawGone(name: string): Promise<void> {
    this.#unseal(name);
    this.#failed.delete(name);
    const pod = this.#enrolled.get(name);
    if (pod === undefined) return;
    this.#enrolled.delete(name);
    this.#capture.pods.disarm(pod);
    await this.#retire(pod, { resetsStreams: true });
  }

  /** Of a pod that is captured no more. */
  async #retire(pod: PreparedPod, { resetsStreams = false } = {}): Promise<void> {
    const idle = Promise.withResolvers<boolean>();
    await this.#workers.removePod(pod.id, resetsStreams, idle.resolve);
    this.rewrittenPairs.forget(pod.id);
    this.#capture.pods.retire(pod);
    if (resetsStreams) {
      await this.#endRouting(pod, Promise.resolve(false));
      return;
    }
    const leaving = this.#endRouting(pod, idle.promise).finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  async #endRouting(pod: PreparedPod, idle: Promise<boolean>): Promise<void> {
    try {
      const wasUsed = await idle;
      // No event tells that an application has read the last of what was sent to it. Asking takes the kernel milliseconds: it
      // walks the sockets of the whole machine.
      while (wasUsed && this.#capture.pods.sources.isInUse(pod)) await delay(unsentIntervalMs);
      this.#capture.pods.sources.end(pod);
    } catch (err) {
      this.#log.error({ pod: pod.name, err }, "rules, routes and settings are left in the pod's namespace");
    }
  }

  /** Resolves when of all pods that were withdrawn the open connections have ended, and what was sent has arrived. */
  async left(): Promise<void> {
    await Promise.all(this.#leaving);
  }
}
