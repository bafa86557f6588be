// This node's workloads whose namespace is known by path. Each is enrolled when its namespace is there, at the start or
// later; when it is gone, all that Culvert holds of it is given back: what is open in it is reset, as nobody is there to
// read, and nothing pins the namespace any more.

import type { LocalPod } from "../discovery/node-config.ts";
import { inodeAt, type NamespaceWatches } from "../kernel/namespace-watches.ts";
import { isSame } from "../mesh/mesh-delta.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Pods } from "./pods.ts";

type State = "waiting" | "enrolled" | "refused";

interface Entry {
  pod: LocalPod;
  state: State;
  /** Of a refused one: what tries again. */
  retry: NodeJS.Timeout | undefined;
  retryMs: number;
  /** After what is under way. */
  run(work: () => Promise<void>): Promise<void>;
  remove(): Promise<void>;
}

/** Doubled each time: what stands in the way (a port that is taken, no descriptors left) may go, and nothing tells. */
const firstRetryMs = 1_000;
const longestRetryMs = 30_000;

function isStrict({ outboundStrict, inboundStrict }: LocalPod): boolean {
  return outboundStrict || inboundStrict;
}

function isAtSamePlace(a: LocalPod, b: LocalPod | undefined): boolean {
  return a.netnsPath === b?.netnsPath && a.cgroupPath === b.cgroupPath;
}

export class LocalPods {
  readonly #pods: Pods;
  readonly #namespaces: NamespaceWatches;
  readonly #log: Logger;
  readonly #entries: Map<string, Entry>;
  #gone: number;
  #isStopped: boolean;

  constructor(pods: Pods, namespaces: NamespaceWatches, log: Logger) {
    this.#pods = pods;
    this.#namespaces = namespaces;
    this.#log = log;
    this.#entries = new Map();
    this.#gone = 0;
    this.#isStopped = false;
  }

  /** Resolves when the pod is enrolled or refused, or is known not to be there yet. */
  async add(pod: LocalPod): Promise<void> {
    const entry: Entry = {
      pod,
      state: "waiting",
      retry: undefined,
      retryMs: firstRetryMs,
      run: async () => {},
      remove: async () => {},
    };
    this.#entries.set(pod.name, entry);
    const { settled, run, remove } = this.#namespaces.add(
      pod.netnsPath,
      {
        appeared: () => this.#enroll(entry),
        gone: async () => {
          clearTimeout(entry.retry);
          const wasEnrolled = entry.state === "enrolled";
          entry.state = "waiting";
          await this.#pods.withdrawGone(pod.name);
          if (!wasEnrolled) return;
          this.#gone++;
          this.#log.info({ pod: pod.name, netns: pod.netnsPath }, "pod is gone; withdrawn");
        },
      },
      pod.cgroupPath,
    );
    entry.run = run;
    entry.remove = remove;
    await settled;
    if (entry.state !== "waiting") return;
    const { name, netnsPath: netns } = pod;
    if (inodeAt(netns) === undefined) this.#log.info({ pod: name, netns }, "pod is not there yet; enrolled when it is");
    else
      this.#log.warn(
        { pod: name, netns },
        "pod not enrolled; its netns path is no network namespace; enrolled when it is one",
      );
  }

  async #enroll(entry: Entry, { isRetry = false } = {}): Promise<void> {
    clearTimeout(entry.retry);
    if (!isRetry) entry.retryMs = firstRetryMs;
    entry.state = (await this.#pods.enroll(entry.pod, { isRetry })) ? "enrolled" : "refused";
    if (entry.state === "enrolled" || !this.#isWanted(entry)) return;
    entry.retry = setTimeout(() => void entry.run(() => this.#tryAgain(entry)), entry.retryMs).unref();
    entry.retryMs = Math.min(entry.retryMs * 2, longestRetryMs);
  }

  async #tryAgain(entry: Entry): Promise<void> {
    if (entry.state === "refused" && this.#isWanted(entry)) await this.#enroll(entry, { isRetry: true });
  }

  #isWanted(entry: Entry): boolean {
    return !this.#isStopped && this.#entries.get(entry.pod.name) === entry;
  }

  /**
   * Makes the pods exactly these: withdraws the others, changes those that are wanted otherwise, adds the new ones. In this
   * order, for an address may pass from one to another. Resolves when that is through.
   */
  async reconcile(wanted: readonly LocalPod[]): Promise<void> {
    const byName = new Map(wanted.map((pod) => [pod.name, pod]));
    const unwanted = [...this.#entries.values()].filter(({ pod }) => !isAtSamePlace(pod, byName.get(pod.name)));
    await Promise.all(unwanted.map((entry) => this.#remove(entry, wanted)));
    for (const pod of wanted) {
      const entry = this.#entries.get(pod.name);
      if (entry === undefined) await this.add(pod);
      else if (!isSame(entry.pod, pod)) await entry.run(() => this.#change(entry, pod));
    }
  }

  async #remove({ pod, retry, remove }: Entry, wanted: readonly LocalPod[]): Promise<void> {
    this.#entries.delete(pod.name);
    clearTimeout(retry);
    // Of a strict pod that is enrolled again below, nothing passes in between.
    const inode = inodeAt(pod.netnsPath);
    const comesBack = wanted.some((it) => isStrict(it) && inodeAt(it.netnsPath) === inode);
    await remove();
    await this.#pods.withdraw(pod.name, { staysClosed: inode !== undefined && isStrict(pod) && comesBack });
  }

  async #change(entry: Entry, pod: LocalPod): Promise<void> {
    entry.pod = pod;
    if (entry.state === "enrolled") this.#pods.update(pod);
    else if (entry.state === "refused") await this.#enroll(entry);
  }

  /** Looks for no pod any more; those that are enrolled stay so. Resolves when what was under way is through. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { retry } of this.#entries.values()) clearTimeout(retry);
    await Promise.all([...this.#entries.values()].map(({ remove }) => remove()));
  }

  /** How many are in that state. */
  count(wanted: State): number {
    return [...this.#entries.values()].filter(({ state }) => state === wanted).length;
  }

  /** How many were withdrawn because they were gone. */
  get gone(): number {
    return this.#gone;
  }
}
