// The way from a pod to an endpoint of a service. Until one is connected nothing is read from the client, so that another try
// costs it only time:
//
//   chosen ── connected ── reset by another node before either side has said anything ──┐
//     └── refused, no answer, no way there ──> ejected; another endpoint, at most three in all, within the connect time-out
//
// Another node's Culvert accepts before it knows whether the application does, and resets then. As long as nothing was said
// no client can have brought that about: one that sends junk cannot have an endpoint ejected.
// Every try asks the newest mesh.

import { pickEndpoint } from "../mesh/balance.ts";
import { connectBegan, connectFailed, connectSucceeded, type Endpoint, probeAbandoned } from "../mesh/endpoint.ts";
import type { ServiceTarget } from "../mesh/mesh-index.ts";
import type { Protocol } from "../mesh/protocol.ts";
import type { SocketWords } from "../runtime/connection.ts";
import type { Fd } from "../runtime/native.ts";
import { formatEventLine } from "../telemetry/access-log.ts";
import type { Result } from "../telemetry/counters.ts";
import { formatSocketWords, socketWordsOf } from "./address-text.ts";
import { resultOfErrno } from "./connect-failure.ts";
import type { ProxyContext } from "./context.ts";
import { transportTo } from "./decide.ts";
import type { ProxiedPod } from "./proxied-pod.ts";
import type { PodPair } from "./same-node.ts";
import type { Route } from "./stream.ts";

const mostTries = 3;
/** Results of connecting that speak of the endpoint; the others speak of this machine. */
const blamesEndpoint: ReadonlySet<Result> = new Set(["refused", "timeout", "unreachable", "reset"]);

export class ServiceRoute implements Route {
  readonly service: string;
  readonly netns: Fd;
  label: string;
  destination: SocketWords;
  transport: "local" | "plain";
  pair: PodPair | undefined;
  protocol: Protocol | undefined;
  timeoutMs: number;
  /** Endpoints tried in vain, each with its result; for the log. */
  failures: string;
  readonly #context: ProxyContext;
  readonly #pod: ProxiedPod;
  readonly #source: SocketWords;
  readonly #original: SocketWords;
  readonly #deadlineMs: number;
  readonly #tried: Endpoint[];
  /** The one that is tried or connected; undefined: it has failed, and no other was found. */
  #endpoint: Endpoint | undefined;
  #isProbe: boolean;

  private constructor(
    context: ProxyContext,
    pod: ProxiedPod,
    source: SocketWords,
    original: SocketWords,
    target: ServiceTarget,
  ) {
    this.service = target.name;
    // From the client's namespace straight to the endpoint: one hop, and the server sees the pod's own address.
    this.netns = pod.netns;
    this.label = "";
    this.destination = original;
    this.transport = "plain";
    this.pair = undefined;
    this.protocol = undefined;
    this.timeoutMs = 0;
    this.failures = "";
    this.#context = context;
    this.#pod = pod;
    this.#source = source;
    this.#original = original;
    this.#deadlineMs = context.now() + context.connectTimeoutMs;
    this.#tried = [];
    this.#endpoint = undefined;
    this.#isProbe = false;
  }

  /** Undefined when the service has no endpoint. */
  static from(
    context: ProxyContext,
    pod: ProxiedPod,
    source: SocketWords,
    original: SocketWords,
    target: ServiceTarget,
  ): ServiceRoute | undefined {
    const route = new ServiceRoute(context, pod, source, original, target);
    return route.#choose(target, context.now()) ? route : undefined;
  }

  #choose(target: ServiceTarget, nowMs: number): boolean {
    const { random, node, counters, sameNode } = this.#context;
    const { w0, w1, w2, w3 } = this.#source;
    const endpoint = pickEndpoint(target, { nowMs, random, client: [w0, w1, w2, w3], tried: this.#tried });
    if (endpoint === undefined) return false;
    this.#endpoint = endpoint;
    this.#isProbe = connectBegan(endpoint, nowMs);
    if (this.#isProbe) counters.endpoint("probed");
    this.label = endpoint.label;
    this.destination = socketWordsOf(endpoint.address, endpoint.port);
    this.transport = transportTo(endpoint.workload, node);
    this.pair =
      this.transport === "local" ? sameNode.pair(this.#pod, endpoint.label, endpoint.address.family) : undefined;
    this.protocol = target.port.protocol;
    // What is left of the time, shared with the tries that may follow.
    const tries = Math.min(mostTries, target.endpoints.length) - this.#tried.length;
    this.timeoutMs = Math.ceil((this.#deadlineMs - nowMs) / Math.max(tries, 1));
    return true;
  }

  orElse(errno: number, wasConnected: boolean): Route | undefined {
    const { now, counters, index } = this.#context;
    const nowMs = now();
    const result = resultOfErrno(errno, wasConnected);
    const isOfNode = this.transport === "plain" && result === "reset" && nowMs < this.#deadlineMs;
    if (wasConnected && !isOfNode) return undefined;
    this.#fail(this.#endpoint!, result, nowMs);
    // The namespace's descriptor of a pod that is withdrawn may be closed, or another's.
    if (!blamesEndpoint.has(result) || this.#pod.isWithdrawn) return undefined;
    if (this.#tried.length === mostTries || nowMs >= this.#deadlineMs) return undefined;
    const { w0, w1, w2, w3, port } = this.#original;
    const target = index.serviceAt(w0, w1, w2, w3, port);
    if (target === undefined || !this.#choose(target, nowMs)) return undefined;
    counters.endpoint("retried");
    return this;
  }

  #fail(endpoint: Endpoint, result: Result, nowMs: number): void {
    const wasProbe = this.#isProbe;
    this.#leave();
    this.#tried.push(endpoint);
    this.failures += `${this.failures === "" ? "" : ", "}${describe(endpoint)}: ${result}`;
    if (!blamesEndpoint.has(result)) return;
    const ejectedMs = connectFailed(endpoint, wasProbe, nowMs, this.#context.random);
    if (ejectedMs === 0) return;
    this.#context.counters.endpoint("ejected");
    this.#log("warn", "endpoint ejected", endpoint, `,"result":"${result}","milliseconds":${ejectedMs}`);
  }

  onConnected(): void {
    this.#isProbe = false;
    if (!connectSucceeded(this.#endpoint!, this.#context.now())) return;
    this.#context.counters.endpoint("recovered");
    this.#log("info", "endpoint recovered", this.#endpoint!, "");
  }

  onEnd(): void {
    if (this.#endpoint === undefined) return;
    if (this.#isProbe) probeAbandoned(this.#endpoint);
    this.#leave();
  }

  #leave(): void {
    this.#endpoint!.openConnections--;
    this.#endpoint = undefined;
    this.#isProbe = false;
  }

  #log(level: "info" | "warn", message: string, endpoint: Endpoint, fields: string): void {
    this.#context.logEvent(
      level,
      formatEventLine(level, message, `,"endpoint":${JSON.stringify(describe(endpoint))}${fields}`),
    );
  }
}

function describe({ label, address, port }: Endpoint): string {
  return `${label} ${formatSocketWords(socketWordsOf(address, port))}`;
}
