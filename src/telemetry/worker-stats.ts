// What each worker's reactor counts about itself: the statistics row that native writes, in the order of `enum Stat` in
// native/reactor/layout.h (a test compares the two), and the metric that each becomes.

export interface WorkerStat {
  /** The enumerator without its `kStat`. */
  readonly stat: string;
  /** Prefixed with `culvert_worker_`. */
  readonly metric: string;
  readonly kind: "counter" | "gauge";
  readonly help: string;
}

export const workerStats: readonly WorkerStat[] = [
  counter("Turns", "turns_total", "Turns of the reactor: calls from the event loop with something to do"),
  counter("Rounds", "rounds_total", "Rounds of the reactor: looks at epoll with one call into TypeScript each"),
  counter("Events", "events_total", "Events handed to TypeScript"),
  counter("Commands", "commands_total", "Commands executed for TypeScript"),
  counter("Accepted", "accepted_total", "Connections accepted"),
  counter("HandedOver", "handed_over_total", "Accepted connections handed to a less loaded worker"),
  gauge("OpenConnections", "open_connections", "Sockets open now, both sides of every connection"),
  gauge("BlocksInUse", "blocks_in_use", "Blocks of 16 KiB in use now"),
  gauge("BlocksPeak", "blocks_peak", "Most blocks ever in use at once"),
  gauge("BlocksLimit", "blocks_limit", "Blocks there are: when all are in use, reading stops until one is free"),
  counter(
    "StaleHandles",
    "stale_handles_total",
    "Commands without effect: their connection had ended or their block was given up. Peers that reset cause a few; please report growth without resets",
  ),
  counter("StarvedReads", "starved_reads_total", "Reads put off because no block was free"),
  counter("AcceptErrors", "accept_errors_total", "Accepts that failed: out of descriptors or memory"),
  counter("MissingOriginals", "missing_originals_total", "Accepted connections without an original destination"),
  counter("BytesRead", "read_bytes_total", "Bytes read from sockets"),
  counter("BytesWritten", "written_bytes_total", "Bytes written to sockets"),
  gauge("TlsSessions", "tls_sessions", "TLS sessions open now, those in their handshake included"),
  counter("TlsEstablished", "tls_established_total", "TLS handshakes that came to their end"),
  counter("TlsFailures", "tls_failures_total", "TLS sessions that failed, in their handshake or later"),
  counter("TlsPutOff", "tls_put_off_total", "Turns in which handshakes had to wait for the next: 1 ms each is theirs"),
];

function counter(stat: string, metric: string, help: string): WorkerStat {
  return { stat, metric, kind: "counter", help };
}

function gauge(stat: string, metric: string, help: string): WorkerStat {
  return { stat, metric, kind: "gauge", help };
}
