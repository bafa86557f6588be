// The workers as the main thread sees them: start, tell all, wait until all have answered.

import { Worker } from "node:worker_threads";
import { heartbeatStaleMs } from "../kernel/judge.ts";
import type { MeshDelta } from "../mesh/mesh-delta.ts";
import type { Part, Parts, Question } from "../proxy/questions.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./messages.ts";
import type { RewrittenPair } from "./rewritten-pairs.ts";
import { workerLimits } from "./worker-limits.ts";

// tsc rewrites imports, not URLs: the same line serves src/ and dist/.
const entry = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url);

export interface WorkerPoolEvents {
  /** Access-log lines, formatted. */
  onLog(lines: string): void;
  /** A line about something else. */
  onEvent(level: "info" | "warn", line: string): void;
  /** Between two pods of this node, one of each worker that comes upon it. */
  onSourceRewritten(pair: RewrittenPair): void;
  /** What is done at once in a loop that runs is not yet done in theirs: `what` waits for them. */
  onSilence(workers: readonly number[], what: string): void;
  /** A worker threw or ended unasked. The process must end: its connections are gone already. */
  onFailure(worker: number, error: unknown): void;
}

interface Asked {
  /** By worker. */
  readonly parts: Part[][];
  readonly missing: Set<number>;
  readonly resolve: () => void;
}

export class WorkerPool {
  readonly #workers: Worker[];
  readonly #waiting: { readonly answer: string; readonly left: Set<number>; readonly resolve: () => void }[];
  readonly #events: WorkerPoolEvents;
  /** Questions that not every worker has answered yet. */
  readonly #asked: Map<number, Asked>;
  #nextQuestion: number;
  #isStopping: boolean;
  /** Removals of pods of which a worker has said so. */
  readonly #keptSources: Set<number>;
  #nextRemoval: number;

  private constructor(settings: readonly WorkerSettings[], events: WorkerPoolEvents) {
    this.#events = events;
    this.#waiting = [];
    this.#asked = new Map();
    this.#nextQuestion = 0;
    this.#isStopping = false;
    this.#keptSources = new Set();
    this.#nextRemoval = 1;
    this.#workers = settings.map((each) => this.#spawn(each));
  }

  /** Resolves when every worker has started. */
  static async start(settings: readonly WorkerSettings[], events: WorkerPoolEvents): Promise<WorkerPool> {
    const pool = new WorkerPool(settings, events);
    await pool.#answered("started");
    return pool;
  }

  get size(): number {
    return this.#workers.length;
  }

  tell(message: ToWorker): void {
    for (const worker of this.#workers) worker.postMessage(message);
  }

  /** One after another, each when all workers have applied the one before: between them they carry traffic. */
  async applyMesh(deltas: readonly MeshDelta[]): Promise<void> {
    for (const delta of deltas) {
      this.tell({ type: "mesh", delta });
      await this.#prompt("meshApplied", "a changed mesh");
    }
  }

  async addPod(message: Extract<ToWorker, { type: "addPod" }>): Promise<void> {
    this.tell(message);
    await this.#prompt(`podAdded ${message.pod.id}`, "a pod that is enrolled");
  }

  /**
   * Resolves when nothing of the pod is used any more but by open connections, which `resetsStreams` resets; `onIdle`: nor is
   * its routing by those, with whether it ever was.
   */
  async removePod(podId: number, resetsStreams: boolean, onIdle: (keptSources: boolean) => void): Promise<void> {
    const removal = this.#nextRemoval++;
    this.tell({ type: "removePod", podId, removal, resetsStreams });
    this.#answered(`podIdle ${removal}`).then(() => onIdle(this.#keptSources.delete(removal)));
    await this.#prompt(`podRemoved ${podId}`, "a pod that is withdrawn");
  }

  /** The parts of each worker's answer; undefined of those that did not answer in time: they hang. */
  async ask<Q extends Question>(question: Q, timeoutMs = 1000): Promise<(Parts[Q["about"]][] | undefined)[]> {
    const id = this.#nextQuestion++;
    const { promise, resolve } = Promise.withResolvers<void>();
    const asked: Asked = { parts: this.#workers.map(() => []), missing: new Set(this.#workers.keys()), resolve };
    this.#asked.set(id, asked);
    const timer = setTimeout(resolve, timeoutMs);
    this.tell({ type: "ask", id, question });
    await promise;
    clearTimeout(timer);
    this.#asked.delete(id);
    return asked.parts.map((parts, worker) => (asked.missing.has(worker) ? undefined : (parts as Parts[Q["about"]][])));
  }

  /** Resolves when no stream is open. */
  async drain(): Promise<void> {
    this.tell({ type: "drain" });
    await this.#answered("drained");
  }

  /** Resolves when all have ended. What they logged was handed over before. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const ended = this.#workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
    this.tell({ type: "stop" });
    await Promise.all(ended);
  }

  #spawn(settings: WorkerSettings): Worker {
    const worker = new Worker(entry, {
      workerData: settings,
      name: `culvert-${settings.worker}`,
      resourceLimits: workerLimits,
    });
    worker.on("message", (message: FromWorker) => this.#receive(settings.worker, message));
    worker.on("error", (error) => this.#events.onFailure(settings.worker, error));
    worker.on("exit", (code) => {
      if (!this.#isStopping) this.#events.onFailure(settings.worker, new Error(`worker ended with code ${code}`));
    });
    return worker;
  }

  #receive(worker: number, message: FromWorker): void {
    if (message.type === "log") {
      this.#events.onLog(message.lines);
      return;
    }
    if (message.type === "event") {
      this.#events.onEvent(message.level, message.line);
      return;
    }
    if (message.type === "sourceRewritten") {
      this.#events.onSourceRewritten(message);
      return;
    }
    if (message.type === "part" || message.type === "answered") {
      this.#hear(worker, message);
      return;
    }
    if (message.type === "podIdle" && message.keptSources) this.#keptSources.add(message.removal);
    const of = "podId" in message ? message.podId : "removal" in message ? message.removal : undefined;
    const answer = of === undefined ? message.type : `${message.type} ${of}`;
    for (const [i, waiting] of this.#waiting.entries()) {
      if (waiting.answer !== answer || !waiting.left.delete(worker)) continue;
      if (waiting.left.size > 0) return;
      this.#waiting.splice(i, 1);
      waiting.resolve();
      return;
    }
  }

  /** What comes too late is asked for by nobody any more. */
  #hear(worker: number, message: Extract<FromWorker, { type: "part" | "answered" }>): void {
    const asked = this.#asked.get(message.id);
    if (asked === undefined) return;
    if (message.type === "part") {
      asked.parts[worker]!.push(message.part);
      return;
    }
    asked.missing.delete(worker);
    if (asked.missing.size === 0) asked.resolve();
  }

  async #prompt(answer: string, what: string): Promise<void> {
    const left = new Set(this.#workers.keys());
    const timer = setTimeout(() => this.#events.onSilence([...left], what), heartbeatStaleMs);
    await this.#answered(answer, left);
    clearTimeout(timer);
  }

  /** `left`: what has not answered yet is in it. */
  #answered(answer: string, left = new Set(this.#workers.keys())): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ answer, left, resolve });
    return promise;
  }
}
