// A worker's proxy: listeners of pods on one side, the snapshot's index on the other, streams in between.
// A change of the mesh counts for new connections; what is open goes on as it was decided.

import type { Cidr, IpAddress } from "../mesh/address.ts";
import { KeptSources } from "../mesh/kept-sources.ts";
import type { MeshDelta } from "../mesh/mesh-delta.ts";
import { MeshIndex } from "../mesh/mesh-index.ts";
import type { Fd } from "../runtime/native.ts";
import type { Reactor } from "../runtime/reactor.ts";
import type { Direction, WorkerCounters } from "../telemetry/counters.ts";
import { answer } from "./answer.ts";
import { PodSources } from "./application-route.ts";
import type { OpenStream, ProxyContext } from "./context.ts";
import { Detection } from "./detection.ts";
import { Inbound } from "./inbound.ts";
import { Outbound } from "./outbound.ts";
import type { ProxiedPod } from "./proxied-pod.ts";
import type { Part, Question } from "./questions.ts";
import { type PodPair, SameNode } from "./same-node.ts";
import { SourcePorts } from "./source-ports.ts";

export interface WorkerProxyOptions {
  readonly reactor: Reactor;
  readonly counters: WorkerCounters;
  readonly connectTimeoutMs: number;
  readonly detectTimeoutMs: number;
  /** createSourcePorts of source-ports.ts. */
  readonly sourcePorts: SharedArrayBuffer;
  readonly random: () => number;
  readonly now: () => number;
  readonly bypassMap: Fd;
  readonly onSourceRewritten: (pair: PodPair) => void;
  readonly logConnection: ((line: string) => void) | undefined;
  readonly logEvent: (level: "info" | "warn", line: string) => void;
}

/** A listening socket in a pod; shared by all workers, owned by the main thread. */
export interface ProxyListener {
  /** Never used for another listener. */
  readonly id: number;
  readonly direction: Direction;
  readonly fd: Fd;
}

interface PodEntry {
  readonly pod: ProxiedPod;
  readonly listeners: readonly ProxyListener[];
  readonly sources: PodSources;
}

/** What an unlisten has accepted is handled in the turn after it; a timer of the reactor fires later than that. */
const oneTurnMs = 1;

export class WorkerProxy {
  readonly #context: ProxyContext;
  readonly #pods: Map<number, PodEntry>;

  constructor(options: WorkerProxyOptions) {
    this.#context = {
      ...options,
      detection: new Detection({
        timers: options.reactor,
        timeoutMs: options.detectTimeoutMs,
        now: () => performance.now(),
      }),
      sourcePorts: new SourcePorts(options.sourcePorts, options.random),
      sameNode: new SameNode(),
      index: new MeshIndex(),
      keptSources: new KeptSources([], []),
      node: "",
      streams: new Set(),
      onIdle: () => {},
    };
    this.#pods = new Map();
  }

  applyDelta(delta: MeshDelta): void {
    this.#context.index.apply(delta);
    this.#context.node = delta.node;
  }

  /** For new connections. */
  set connectTimeoutMs(milliseconds: number) {
    this.#context.connectTimeoutMs = milliseconds;
  }

  /** For new connections, as with snapshots. */
  setKeptSources(podCidrs: readonly Cidr[], nodeAddresses: readonly IpAddress[]): void {
    this.#context.keptSources = new KeptSources(podCidrs, nodeAddresses);
  }

  addPod(pod: ProxiedPod, listeners: readonly ProxyListener[], originalDestinationMap: Fd): void {
    const sources = new PodSources();
    this.#pods.set(pod.id, { pod, listeners, sources });
    const outbound = new Outbound(this.#context, pod);
    const inbound = new Inbound(this.#context, pod, sources);
    const { reactor } = this.#context;
    for (const { id, direction, fd } of listeners) {
      if (direction === "outbound") reactor.listen(fd, id, originalDestinationMap, outbound);
      else reactor.listen(fd, id, undefined, inbound);
    }
    reactor.flush();
  }

  /** The kernel captures the pod from now on. */
  armPod(podId: number): void {
    const entry = this.#pods.get(podId);
    if (entry !== undefined) this.#context.sameNode.add(entry.pod);
  }

  /**
   * Serves what waits in the pod's accept queues, then accepts no more. `onRemoved`: the listeners and the namespace's
   * descriptor are not used any more. Open streams go on, or are reset. `onIdle`, later: nor does one to the pod's
   * application under its client's address, with whether there ever was one.
   */
  removePod(podId: number, resetsStreams: boolean, onRemoved: () => void, onIdle: (wasUsed: boolean) => void): void {
    const entry = this.#pods.get(podId);
    this.#pods.delete(podId);
    const { reactor, sameNode } = this.#context;
    if (entry !== undefined) sameNode.remove(entry.pod);
    for (const listener of entry?.listeners ?? []) reactor.unlisten(listener.id);
    reactor.setTimer(oneTurnMs, () => {
      // By name too: a stream of an earlier pod of that id goes on.
      const name = entry?.pod.name;
      if (resetsStreams) this.#abort(({ pod }) => pod.id === podId && pod.name === name);
      for (const { id } of entry?.listeners ?? []) reactor.forgetListener(id);
      if (entry !== undefined) {
        entry.pod.isWithdrawn = true;
        reactor.forgetNetns(entry.pod.netns);
      }
      onRemoved();
      if (entry === undefined) onIdle(false);
      else entry.sources.remove(onIdle);
    });
  }

  /** Does not keep the traffic waiting. */
  answer(question: Question): AsyncGenerator<Part> {
    return answer(this.#context, question);
  }

  /** Lines of connections that end from now on; undefined: none. */
  set logConnection(log: ((line: string) => void) | undefined) {
    this.#context.logConnection = log;
  }

  get openStreams(): number {
    return this.#context.streams.size;
  }

  /** Calls back when no stream is open, at once if none is. */
  whenIdle(callback: () => void): void {
    this.#context.onIdle = callback;
    if (this.openStreams === 0) callback();
  }

  /** Resets what is open. */
  abortStreams(): void {
    this.#abort(() => true);
  }

  #abort(which: (stream: OpenStream) => boolean): void {
    for (const stream of this.#context.streams) if (which(stream)) stream.abort();
    this.#context.reactor.flush();
  }
}
