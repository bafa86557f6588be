// Hot: runs per byte of a connection's beginning; measured by bench/micro/detect.ts.
//
// Is this HTTP/2? Its client begins with 24 bytes that are no HTTP/1 (RFC 9113 §3.4).

import { matches, mismatches, type Progress, undecided } from "./progress.ts";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export class Preface {
  #matched: number;

  constructor() {
    this.#matched = 0;
  }

  /** The next bytes of the client. Not to be called again after anything but `undecided`. */
  feed(bytes: Uint8Array, from: number, to: number): Progress {
    let matched = this.#matched;
    for (let at = from; at < to; at++) {
      if (bytes[at] !== preface[matched]) return mismatches;
      if (++matched === preface.length) return matches;
    }
    this.#matched = matched;
    return undecided;
  }
}
