// Hot: runs per chunk; nothing is allocated; measured by `npm run bench -- tcp`.
//
// An opaque stream: a captured connection (downstream), the one made for it (upstream), and what goes between them.
//
//   accepted, paused ── upstream connected ──> relaying ── FIN both ways ──> closed: ok
//          └── connecting failed ──> another way, if the route has one; else RST downstream: refused, timeout, …
//          relaying ── RST of either ──> what it had sent, then RST to the other: reset
//
// Downstream is not read before upstream is connected, so a pod that dials into a void holds no blocks.
// FIN stays FIN: half-closed streams go on for as long as the applications want.

import type { Protocol } from "../mesh/protocol.ts";
import type { Connection, ConnectionHandler, SocketWords } from "../runtime/connection.ts";
import { type Passage, passage, sourceMark } from "../runtime/layout.ts";
import type { Fd } from "../runtime/native.ts";
import { type ConnectionRecord, formatConnectionLine } from "../telemetry/access-log.ts";
import type { DecidedBy, Direction, Flow, ProtocolWord, Result, SeenAs } from "../telemetry/counters.ts";
import type { OpenConnection } from "../telemetry/reports.ts";
import { formatSocketWords } from "./address-text.ts";
import { describeFailure, resultOfErrno } from "./connect-failure.ts";
import type { ProxyContext } from "./context.ts";
import type { Observation, ObservedStream } from "./detection.ts";
import type { ProxiedPod } from "./proxied-pod.ts";
import type { ConnectionFilter } from "./questions.ts";
import type { PodPair } from "./same-node.ts";

/** How long a reset waits for a reader to take what was sent before it. The kernel drops what is still unread then, as without a proxy. */
const resetLingerMs = 1_000;

/** Where a stream goes, as the pipelines decide. */
export interface Route {
  readonly service: string | undefined;
  /** For the log: `namespace/name` of the workload, if it is known. */
  readonly label: string | undefined;
  readonly destination: SocketWords;
  readonly netns: Fd;
  readonly transport: ConnectionRecord["transport"];
  /** Of connections between two pods of this node. */
  readonly pair?: PodPair | undefined;
  /** Declared; undefined: to be detected. */
  readonly protocol: Protocol | undefined;
  /** Bound before connecting, although it is the client's. */
  readonly source?: SocketWords | undefined;
  /** Default: the connect time-out. */
  readonly timeoutMs?: number;
  readonly seenAs?: SeenAs;
  /** For the log: what was tried before in vain; empty: nothing. */
  readonly failures?: string;
  /** Connecting failed, or what was connected before either side had said anything: the way to try instead, if there is one. */
  orElse?(errno: number, wasConnected: boolean): Route | undefined;
  onConnected?(): void;
  /** The stream has ended, connected or not. */
  onEnd?(): void;
}

class Leg implements ConnectionHandler {
  readonly stream: Stream;
  readonly flow: Flow;
  peer: Leg;
  connection: Connection | undefined;
  /** Read from this side and handed to the other. */
  bytes: number;
  ended: boolean;
  closed: boolean;

  constructor(stream: Stream, flow: Flow) {
    this.stream = stream;
    this.flow = flow;
    this.peer = this;
    this.connection = undefined;
    this.bytes = 0;
    this.ended = false;
    this.closed = false;
  }

  onConnected(_connection: Connection, arrival: Passage): void {
    if (arrival !== passage.notAsked && this.stream.isCapturedAgain(arrival)) return;
    this.stream.onConnected();
    this.peer.connection!.resume();
  }

  onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
    const to = this.peer;
    if (to.closed) {
      connection.reactor.release(block, generation);
      return;
    }
    this.bytes += length;
    const { stream } = this;
    stream.countBytes(this.flow, length);
    stream.observation?.onData(this.flow, connection.reactor.slab, offset, length);
    to.connection!.write(block, generation, offset, length, true);
  }

  onEnd(connection: Connection): void {
    this.ended = true;
    if (this.flow === "sent") this.stream.observation?.onClientEnd();
    const to = this.peer;
    if (!to.ended) {
      to.connection!.shutdown();
      return;
    }
    to.connection!.close(0);
    connection.close(0);
  }

  onBlocked(): void {
    this.peer.connection?.pause();
  }

  onDrained(): void {
    this.peer.connection?.resume();
  }

  onClosed(_connection: Connection, errno: number, wasConnected: boolean): void {
    this.closed = true;
    this.stream.onLegClosed(this, errno, wasConnected);
  }
}

export class Stream implements ObservedStream {
  readonly direction: Direction;
  readonly pod: ProxiedPod;
  readonly source: SocketWords;
  readonly original: SocketWords;
  readonly startedMs: number;
  route: Route | undefined;
  result: Result;
  errno: number;
  /** Whose RST or silence ended it. */
  endedBy: "client" | "server" | "proxy";
  wasConnected: boolean;
  /** Of what both sides say, until that is known. It only looks: bytes go on at once. */
  observation: Observation | undefined;
  #protocol: ProtocolWord;
  /** Undefined: the protocol is not known yet. */
  #protocolBy: DecidedBy | undefined;
  #serverName: string | undefined;
  #service: string | undefined;
  readonly #context: ProxyContext;
  readonly #downstream: Leg;
  readonly #upstream: Leg;

  constructor(
    context: ProxyContext,
    direction: Direction,
    pod: ProxiedPod,
    downstream: Connection,
    source: SocketWords,
    original: SocketWords,
  ) {
    this.#context = context;
    this.direction = direction;
    this.pod = pod;
    this.source = source;
    this.original = original;
    this.startedMs = context.now();
    this.route = undefined;
    this.result = "ok";
    this.errno = 0;
    this.endedBy = "proxy";
    this.wasConnected = false;
    this.observation = undefined;
    this.#protocol = "unknown";
    this.#protocolBy = undefined;
    this.#serverName = undefined;
    this.#service = undefined;
    this.#downstream = new Leg(this, "sent");
    this.#upstream = new Leg(this, "received");
    this.#downstream.peer = this.#upstream;
    this.#upstream.peer = this.#downstream;
    this.#downstream.connection = downstream;
    downstream.handler = this.#downstream;
    downstream.pause();
    context.streams.add(this);
    context.counters.opened(direction);
  }

  /** Makes the upstream connection. */
  connect(route: Route): void {
    this.route = route;
    this.#service = route.service;
    this.#open(route);
  }

  #open({ destination, netns, source, pair, timeoutMs = this.#context.connectTimeoutMs }: Route): void {
    const isTransparent = source !== undefined;
    const connection = this.#context.reactor.connect(
      {
        netns: pair?.sources === "rewritten" ? pair.server.netns : netns,
        destination,
        source,
        isTransparent,
        mark: isTransparent ? sourceMark : 0,
        timeoutMs,
        bypassMap: pair?.sources === "unknown" ? this.#context.bypassMap : undefined,
      },
      this.#upstream,
    );
    if (connection === undefined) this.refuse("limit");
    else this.#upstream.connection = connection;
  }

  /**
   * What the first connection of a pair of pods found out (same-node.ts). True: this one leads to the proxy itself, and was
   * made anew.
   */
  isCapturedAgain(arrival: Passage): boolean {
    const pair = this.route!.pair!;
    if (arrival === passage.seen) pair.sources = "kept";
    if (arrival !== passage.notSeen || pair.isOver) return false;
    pair.sources = "rewritten";
    this.#context.onSourceRewritten(pair);
    this.#upstream.connection!.discard();
    this.#open(this.route!);
    return true;
  }

  /** RST, because the service has no endpoint. */
  refuseService(service: string): void {
    this.#service = service;
    this.refuse("no_endpoint");
  }

  /** Ends a stream that has no upstream: RST. */
  refuse(result: Result): void {
    this.result = result;
    this.#upstream.closed = true;
    this.#downstream.connection!.reset();
  }

  /** Ends it now, both ways by RST (drain time is over). */
  abort(): void {
    this.result = "reset";
    this.#downstream.connection?.reset();
    this.#upstream.connection?.reset();
  }

  /** Upstream is there. */
  onConnected(): void {
    this.wasConnected = true;
    this.route?.onConnected?.();
    if (this.observation !== undefined || this.#protocolBy !== undefined) return; // Of the way that was tried before.
    const declared = this.route?.protocol;
    if (declared === undefined) this.#context.detection.observe(this, this.original);
    else this.onProtocol(declared, "declared", undefined);
  }

  onProtocol(protocol: ProtocolWord, by: DecidedBy, serverName: string | undefined): void {
    this.#protocol = protocol;
    this.#protocolBy = by;
    this.#serverName = serverName;
    this.#context.counters.protocol(this.direction, protocol, by);
  }

  countBytes(flow: Flow, count: number): void {
    this.#context.counters.bytes(this.direction, flow, count);
  }

  onLegClosed(leg: Leg, errno: number, wasConnected: boolean): void {
    if (leg === this.#upstream && errno !== 0 && !leg.peer.closed && this.#isUntouched()) {
      const next = this.route?.orElse?.(errno, wasConnected);
      if (next !== undefined) {
        leg.closed = false;
        this.wasConnected = false;
        this.#downstream.connection!.pause();
        this.connect(next);
        return;
      }
    }
    if (errno !== 0) {
      if (this.errno === 0) {
        this.errno = errno;
        this.result = resultOfErrno(errno, wasConnected);
        this.endedBy = leg === this.#downstream ? "client" : "server";
      }
      if (!leg.peer.closed) {
        if (wasConnected) leg.peer.connection!.resetAfterQueue(resetLingerMs);
        else leg.peer.connection!.reset();
      }
    }
    if (leg.peer.closed) this.#finish();
  }

  /** Nothing was said yet, so nothing is lost with the connection that was made. */
  #isUntouched(): boolean {
    const [downstream, upstream] = [this.#downstream, this.#upstream];
    return downstream.bytes === 0 && upstream.bytes === 0 && !downstream.ended && !upstream.ended;
  }

  #finish(): void {
    const context = this.#context;
    this.observation?.onClosed();
    if (this.#protocolBy === undefined) this.onProtocol("unknown", "ended", undefined);
    this.route?.onEnd?.();
    context.counters.closed(this.direction, this.result);
    context.streams.delete(this);
    if (context.logConnection !== undefined) context.logConnection(formatConnectionLine(this.#record()));
    if (context.streams.size === 0) context.onIdle();
  }

  matches({ direction, pod, service }: ConnectionFilter): boolean {
    if (direction !== undefined && direction !== this.direction) return false;
    if (pod !== undefined && pod !== this.pod.name) return false;
    const own = this.#service;
    return service === undefined || (own !== undefined && (own === service || own.startsWith(`${service}:`)));
  }

  describe(): OpenConnection {
    const { result: _, error: __, ...rest } = this.#record();
    const isHalfClosed = this.#downstream.ended || this.#upstream.ended;
    const protocolBy = this.#protocolBy;
    return { ...rest, protocolBy, state: !this.wasConnected ? "connecting" : isHalfClosed ? "half-closed" : "open" };
  }

  #record(): ConnectionRecord {
    const route = this.route;
    const endpoint = route === undefined ? undefined : formatSocketWords(route.destination);
    return {
      direction: this.direction,
      pod: this.pod.name,
      source: formatSocketWords(this.source),
      destination: formatSocketWords(this.original),
      service: this.#service,
      endpoint: route?.label === undefined ? endpoint : `${route.label} ${endpoint}`,
      transport: route?.transport ?? "plain",
      protocol: this.#protocol,
      protocolBy: this.#protocolBy ?? "ended",
      sni: this.#serverName,
      seenAs: this.wasConnected ? route?.seenAs : undefined,
      bytesSent: this.#downstream.bytes,
      bytesReceived: this.#upstream.bytes,
      tried: route?.failures,
      durationMs: this.#context.now() - this.startedMs,
      result: this.result,
      error:
        this.result === "ok"
          ? undefined
          : describeFailure(this, this.#service, endpoint, this.#context.connectTimeoutMs),
    };
  }
}
