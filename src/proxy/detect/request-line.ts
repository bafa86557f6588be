// Hot: runs per byte of a connection's beginning; measured by bench/micro/detect.ts.
//
// Is this HTTP/1? It is when a whole request line up to its version has been seen (RFC 9112 §3):
//
//   method SP request-target SP "HTTP/1."
//
// Not when a byte cannot be part of one: so text protocols (`EHLO`, `USER`, RESP, `PROXY`, RTSP, SIP) are told from it at the
// first byte that differs, at the latest where their line ends. No empty line before it, which only a later request may have.

import { matches, mismatches, type Progress, undecided } from "./progress.ts";

/** The longest registered method has 17 bytes (UPDATEREDIRECTREF). */
const maxMethodBytes = 32;
/** Servers accept 8 to 64 KiB; what is longer would only keep a stream undecided. */
const maxTargetBytes = 64 * 1024;

const space = 0x20;
const del = 0x7f;
const version = Buffer.from("HTTP/1.");

/** 1 where a byte may stand in a method: tchar of RFC 9110 §5.6.2. */
const isToken = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  isToken[character.charCodeAt(0)] = 1;
}

const inMethod = 0;
const inTarget = 1;
const inVersion = 2;

export class RequestLine {
  #part: number;
  /** Of the part, so far. */
  #length: number;

  constructor() {
    this.#part = inMethod;
    this.#length = 0;
  }

  /** The next bytes of the client. Not to be called again after anything but `undecided`. */
  feed(bytes: Uint8Array, from: number, to: number): Progress {
    let part = this.#part;
    let length = this.#length;
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!;
      if (part === inMethod) {
        if (byte === space && length > 0) {
          part = inTarget;
          length = 0;
        } else if (isToken[byte] === 0 || ++length > maxMethodBytes) return mismatches;
      } else if (part === inTarget) {
        if (byte === space && length > 0) {
          part = inVersion;
          length = 0;
          // Bytes above ASCII are not allowed either, but clients send them and servers take them.
        } else if (byte <= space || byte === del || ++length > maxTargetBytes) return mismatches;
      } else {
        if (byte !== version[length]) return mismatches;
        if (++length === version.length) return matches;
      }
    }
    this.#part = part;
    this.#length = length;
    return undecided;
  }
}
