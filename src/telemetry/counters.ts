// Hot: bytes() runs per chunk; no allocation.
// Traffic counters: one SharedArrayBuffer, one row of doubles per worker. A row has one writer, so nothing is locked; the
// main thread sums the rows at scrape time. Doubles count bytes exactly up to 2^53, and an aligned 8-byte store is never torn
// on the machines Culvert runs on (x86-64, arm64).
//
//   row   | opened ×2 | closed ×2×results | bytes ×2×2 | protocols ×2×decisions | seen as ×3 | endpoint events |
//         padding to 128 bytes, so that workers share no cache line

export const directions = ["outbound", "inbound"] as const;
export type Direction = (typeof directions)[number];

/** sent: from client to server. received: from server to client. */
export const flows = ["sent", "received"] as const;
export type Flow = (typeof flows)[number];

/** How a connection ended. Words of metrics and access log: add, never rename. */
export const results = [
  "ok", // both sides said FIN
  "reset", // either side sent RST
  "refused", // nobody listens at the endpoint
  "timeout", // the endpoint did not answer within the connect time-out, or a side fell silent
  "unreachable", // no route to the endpoint
  "no_endpoint", // the service has none
  "no_original", // the original destination was not found
  "limit", // out of connections, descriptors or memory
  "error", // anything else: the log line says what
] as const;
export type Result = (typeof results)[number];

/** What a connection speaks: what mesh.yaml can declare (mesh/protocol.ts), or unknown. Words of metrics and access log. */
export type ProtocolWord = "http" | "http2" | "grpc" | "tls" | "opaque" | "unknown";

/** How that was found out: every pair there is. Add, never rename. */
export const protocolDecisions = [
  ...decisions("declared", "http", "http2", "grpc", "tls", "opaque"), // by the service's port in mesh.yaml
  ...decisions("detected", "http", "http2", "tls", "opaque"), // by the client's first bytes
  ...decisions("server_first", "opaque"), // the server spoke before the client had said enough
  ...decisions("learned", "http", "http2", "tls", "opaque"), // as earlier connections to that destination
  ...decisions("timeout", "opaque"), // neither said enough within the detection time-out
  ...decisions("ended", "unknown"), // the connection ended before
] as const;
export type DecidedBy = "declared" | "detected" | "server_first" | "learned" | "timeout" | "ended";

function decisions<B extends DecidedBy, P extends ProtocolWord>(by: B, ...protocols: P[]) {
  return protocols.map((protocol) => ({ protocol, by }));
}

/** Under whose address an application sees the client of an inbound connection. Words of metrics and access log. */
export const seenAs = [
  "client", // its own
  "pod", // the application's pod's: the client is a node, outside of the mesh, or out of ports
  "pod_after_retry", // that, because no answer came to its own
] as const;
export type SeenAs = (typeof seenAs)[number];

/** What happened to endpoints of services. */
export const endpointEvents = [
  "retried", // a connection was tried on another, because connecting failed
  "ejected", // connecting failed: no new connections for a while
  "probed", // after that while, one connection was sent there
  "recovered", // which connected
] as const;
export type EndpointEvent = (typeof endpointEvents)[number];

const openedAt = 0;
const closedAt = openedAt + directions.length;
const bytesAt = closedAt + directions.length * results.length;
const protocolsAt = bytesAt + directions.length * flows.length;
const seenAsAt = protocolsAt + directions.length * protocolDecisions.length;
const endpointEventsAt = seenAsAt + seenAs.length;
const rowDoubles = Math.ceil((endpointEventsAt + endpointEvents.length) / 16) * 16;
const endpointEventIndex = Object.fromEntries(endpointEvents.map((event, i) => [event, i])) as Record<
  EndpointEvent,
  number
>;
const resultIndex = Object.fromEntries(results.map((result, i) => [result, i])) as Record<Result, number>;

/** By `by`, then by protocol: where it stands in protocolDecisions. */
const decisionIndex = new Map<string, Map<string, number>>();
for (const [i, { protocol, by }] of protocolDecisions.entries()) {
  decisionIndex.set(by, (decisionIndex.get(by) ?? new Map<string, number>()).set(protocol, i));
}

/** Rows for `workers` workers, all zero. */
export function createCounters(workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(workers * rowDoubles * Float64Array.BYTES_PER_ELEMENT);
}

/** What a worker counts with: the only writer of its row. */
export class WorkerCounters {
  readonly #row: Float64Array;

  constructor(counters: SharedArrayBuffer, worker: number) {
    this.#row = rowOf(counters, worker);
  }

  opened(direction: Direction): void {
    this.#row[openedAt + directionIndex(direction)]! += 1;
  }

  closed(direction: Direction, result: Result): void {
    this.#row[closedAt + directionIndex(direction) * results.length + resultIndex[result]]! += 1;
  }

  /** A pair of protocolDecisions. */
  protocol(direction: Direction, protocol: ProtocolWord, by: DecidedBy): void {
    const decision = decisionIndex.get(by)!.get(protocol)!;
    this.#row[protocolsAt + directionIndex(direction) * protocolDecisions.length + decision]! += 1;
  }

  bytes(direction: Direction, flow: Flow, count: number): void {
    this.#row[bytesAt + directionIndex(direction) * flows.length + (flow === "sent" ? 0 : 1)]! += count;
  }

  seenAs(how: SeenAs): void {
    this.#row[seenAsAt + (how === "client" ? 0 : how === "pod" ? 1 : 2)]! += 1;
  }

  endpoint(event: EndpointEvent): void {
    this.#row[endpointEventsAt + endpointEventIndex[event]]! += 1;
  }
}

export interface CounterTotals {
  readonly endpoints: Readonly<Record<EndpointEvent, number>>;
  readonly opened: Readonly<Record<Direction, number>>;
  readonly closed: Readonly<Record<Direction, Readonly<Record<Result, number>>>>;
  /** Connections that were opened and are not closed; never negative. */
  readonly open: Readonly<Record<Direction, number>>;
  readonly bytes: Readonly<Record<Direction, Readonly<Record<Flow, number>>>>;
  /** In the order of protocolDecisions. */
  readonly protocols: Readonly<Record<Direction, readonly number[]>>;
  /** Connections to applications that were made. */
  readonly seenAs: Readonly<Record<SeenAs, number>>;
}

/** All rows added up, while the workers go on counting. */
export function sumCounters(counters: SharedArrayBuffer, workers: number): CounterTotals {
  const sum = new Float64Array(rowDoubles);
  for (let worker = 0; worker < workers; worker++) {
    const row = rowOf(counters, worker);
    // Backwards: what is closed is read before what is opened, so that a connection in between is not closed only.
    for (let i = rowDoubles - 1; i >= 0; i--) sum[i]! += row[i]!;
  }
  const perDirection = <T>(value: (direction: number) => T) =>
    ({ outbound: value(0), inbound: value(1) }) satisfies Record<Direction, T>;
  const opened = perDirection((d) => sum[openedAt + d]!);
  const closed = perDirection((d) => {
    const from = closedAt + d * results.length;
    return Object.fromEntries(results.map((result, i) => [result, sum[from + i]!])) as Record<Result, number>;
  });
  const open = perDirection((d) => {
    const from = closedAt + d * results.length;
    const closedSum = sum.subarray(from, from + results.length).reduce((total, n) => total + n, 0);
    // Nothing orders another thread's plain stores on every machine.
    return Math.max(sum[openedAt + d]! - closedSum, 0);
  });
  const bytes = perDirection((d) => ({ sent: sum[bytesAt + d * 2]!, received: sum[bytesAt + d * 2 + 1]! }));
  const protocols = perDirection((d) => {
    const from = protocolsAt + d * protocolDecisions.length;
    return [...sum.subarray(from, from + protocolDecisions.length)];
  });
  const seen = Object.fromEntries(seenAs.map((how, i) => [how, sum[seenAsAt + i]!])) as Record<SeenAs, number>;
  const endpoints = Object.fromEntries(endpointEvents.map((event, i) => [event, sum[endpointEventsAt + i]!])) as Record<
    EndpointEvent,
    number
  >;
  return { opened, closed, open, bytes, protocols, seenAs: seen, endpoints };
}

function rowOf(counters: SharedArrayBuffer, worker: number): Float64Array {
  return new Float64Array(counters, worker * rowDoubles * Float64Array.BYTES_PER_ELEMENT, rowDoubles);
}

function directionIndex(direction: Direction): number {
  return direction === "outbound" ? 0 : 1;
}
