// The one place where what the kernel said of a connection becomes a result and a sentence.

import { constants } from "node:os";
import { getSystemErrorMessage } from "node:util";
import type { SocketWords } from "../runtime/connection.ts";
import type { Result } from "../telemetry/counters.ts";
import { describeError } from "../telemetry/errors.ts";
import { formatSocketWords } from "./address-text.ts";

const { errno } = constants;

const results = new Map<number, Result>([
  [errno.ECONNREFUSED, "refused"],
  [errno.ETIMEDOUT, "timeout"],
  [errno.EHOSTUNREACH, "unreachable"],
  [errno.ENETUNREACH, "unreachable"],
  [errno.ENETDOWN, "unreachable"],
  [errno.ECONNRESET, "reset"],
  [errno.EPIPE, "reset"],
  [errno.ECONNABORTED, "reset"],
  [errno.EMFILE, "limit"],
  [errno.ENFILE, "limit"],
  [errno.ENOMEM, "limit"],
  [errno.ENOBUFS, "limit"],
  [errno.EADDRNOTAVAIL, "limit"],
]);

const resources = new Map([
  [errno.EMFILE, "descriptors"],
  [errno.ENFILE, "descriptors of the whole machine"],
  [errno.ENOMEM, "memory"],
  [errno.ENOBUFS, "memory"],
  [errno.EADDRNOTAVAIL, "source ports"],
]);

export function resultOfErrno(code: number, wasConnected: boolean): Result {
  const result = results.get(code) ?? "error";
  // Why a connected peer fell silent: the kernel says the last it heard of the way there.
  return wasConnected && result === "unreachable" ? "timeout" : result;
}

/** A stream that did not end well. */
export interface FailedStream {
  readonly source: SocketWords;
  readonly original: SocketWords;
  readonly result: Result;
  /** 0: the proxy ended it. */
  readonly errno: number;
  /** Whose RST or silence ended it. */
  readonly endedBy: "client" | "server" | "proxy";
  readonly wasConnected: boolean;
}

/** What the access log says of a stream that did not end well. `endpoint`: the text of where it went. */
export function describeFailure(
  stream: FailedStream,
  service: string | undefined,
  endpoint: string | undefined,
  connectTimeoutMs: number,
): string {
  const source = formatSocketWords(stream.source);
  const to = endpoint ?? formatSocketWords(stream.original);
  const reason = stream.errno === 0 ? "closed by the proxy" : getSystemErrorMessage(-stream.errno);
  switch (stream.result) {
    case "no_endpoint":
      return describeError("NO_ENDPOINT", { service: service ?? to });
    case "refused":
      return describeError("CONNECT_REFUSED", { endpoint: to });
    case "timeout":
      if (stream.wasConnected) return describeError("PEER_SILENT", { source, endpoint: to, side: stream.endedBy });
      return describeError("CONNECT_TIMEOUT", { endpoint: to, milliseconds: connectTimeoutMs });
    case "limit":
      return describeError("LIMIT_REACHED", {
        source,
        endpoint: to,
        resource: resources.get(stream.errno) ?? "connections",
      });
    case "reset":
      return describeError("CONNECTION_RESET", { source, endpoint: to, side: stream.endedBy });
    default:
      return describeError("CONNECT_UNREACHABLE", { endpoint: to, reason });
  }
}
