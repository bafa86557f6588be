// The way from a pod's inbound listener to its application: from inside the pod, under the client's own address where that
// may be (KeptSources), under the pod's otherwise.
//
//   kept ── port taken ──> kept, by another port ── none free ──> the pod's address
//     ├── refused ──> nobody listens: it fails
//     └── no answer ──> the pod's address, once          both fit into one connect time-out
//
// No answer comes to an application whose listener has a mark of its own: its answers leave the pod. What was learned about
// a port so is remembered for a while, or each of its connections would wait for a time-out.

import { constants } from "node:os";
import type { Protocol } from "../mesh/protocol.ts";
import type { SocketWords } from "../runtime/connection.ts";
import type { Fd } from "../runtime/native.ts";
import type { SeenAs } from "../telemetry/counters.ts";
import type { ProxyContext } from "./context.ts";
import type { ProxiedPod } from "./proxied-pod.ts";
import { isSourcePort } from "./source-ports.ts";
import type { Route } from "./stream.ts";

const { ECONNREFUSED, EADDRINUSE, EADDRNOTAVAIL } = constants.errno;

/** A port that is free by our table is taken only by an application that listens there, or has just been left by one. */
const mostPorts = 8;
/** Of an application that answers nobody by name. */
const lossesToLearn = 3;
const learnedForMs = 60_000;

/** What the routes of one pod share, in one worker. */
export class PodSources {
  readonly #lost: Map<number, { losses: number; untilMs: number }>;
  #open: number;
  #wasUsed: boolean;
  #onIdle: ((wasUsed: boolean) => void) | undefined;

  constructor() {
    this.#lost = new Map();
    this.#open = 0;
    this.#wasUsed = false;
    this.#onIdle = undefined;
  }

  /** The pod's namespace is not entered any more. */
  get isRemoved(): boolean {
    return this.#onIdle !== undefined;
  }

  /** Calls back when no connection under a client's address is open, at once if none is, with whether there ever was one. */
  remove(onIdle: (wasUsed: boolean) => void): void {
    this.#onIdle = onIdle;
    if (this.#open === 0) onIdle(this.#wasUsed);
  }

  opened(): void {
    this.#open++;
    this.#wasUsed = true;
  }

  closed(): void {
    if (--this.#open === 0) this.#onIdle?.(this.#wasUsed);
  }

  answersClients(port: number, nowMs: number): boolean {
    const lost = this.#lost.get(port);
    return lost === undefined || lost.losses < lossesToLearn || nowMs >= lost.untilMs;
  }

  learn(port: number, isAnswered: boolean, nowMs: number): void {
    if (isAnswered) {
      this.#lost.delete(port);
      return;
    }
    const losses = (this.#lost.get(port)?.losses ?? 0) + 1;
    this.#lost.set(port, { losses, untilMs: nowMs + learnedForMs });
  }
}

export class ApplicationRoute implements Route {
  readonly service = undefined;
  readonly transport = "local";
  readonly label: string;
  readonly destination: SocketWords;
  readonly netns: Fd;
  readonly protocol: Protocol | undefined;
  source: SocketWords | undefined;
  timeoutMs: number;
  seenAs: SeenAs;
  readonly #context: ProxyContext;
  readonly #sources: PodSources;
  readonly #client: SocketWords;
  readonly #countsClientPort: boolean;
  #portsTried: number;

  constructor(
    context: ProxyContext,
    pod: ProxiedPod,
    sources: PodSources,
    client: SocketWords,
    destination: SocketWords,
  ) {
    this.label = pod.name;
    this.destination = destination;
    this.netns = pod.netns;
    const { w0, w1, w2, w3, port } = destination;
    this.protocol = context.index.endpointAt(w0, w1, w2, w3, port)?.protocol;
    this.source = undefined;
    this.timeoutMs = context.connectTimeoutMs;
    this.seenAs = "pod";
    this.#context = context;
    this.#sources = sources;
    this.#client = client;
    this.#portsTried = 0;
    const isKept =
      pod.keepsSources && context.keptSources.keeps(context.index, client.w0, client.w1, client.w2, client.w3);
    this.#countsClientPort = isKept && isSourcePort(client.port);
    if (this.#countsClientPort) context.sourcePorts.use(client, client.port, destination);
    if (isKept && sources.answersClients(destination.port, context.now())) this.#keep();
  }

  /** False when no port is free. */
  #keep(): boolean {
    const port = this.#context.sourcePorts.claim(this.#client, this.destination);
    if (port === 0) return false;
    const { w0, w1, w2, w3 } = this.#client;
    this.source = { w0, w1, w2, w3, port };
    this.timeoutMs = this.#context.connectTimeoutMs / 2;
    this.seenAs = "client";
    this.#sources.opened();
    return true;
  }

  #endKeeping(): void {
    if (this.source === undefined) return;
    this.#context.sourcePorts.release(this.#client, this.source.port, this.destination);
    this.source = undefined;
    this.#sources.closed();
  }

  orElse(errno: number, wasConnected: boolean): Route | undefined {
    if (wasConnected || this.source === undefined || errno === ECONNREFUSED || this.#sources.isRemoved)
      return undefined;
    this.#endKeeping();
    const isPortTaken = errno === EADDRINUSE || errno === EADDRNOTAVAIL;
    if (isPortTaken && ++this.#portsTried < mostPorts && this.#keep()) return this;
    this.timeoutMs = this.#context.connectTimeoutMs / 2;
    this.seenAs = isPortTaken ? "pod" : "pod_after_retry";
    return this;
  }

  onConnected(): void {
    this.#context.counters.seenAs(this.seenAs);
    if (this.seenAs === "pod") return;
    this.#sources.learn(this.destination.port, this.seenAs === "client", this.#context.now());
  }

  onEnd(): void {
    this.#endKeeping();
    if (this.#countsClientPort) this.#context.sourcePorts.release(this.#client, this.#client.port, this.destination);
  }
}
