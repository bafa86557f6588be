// Hot: runs per chunk until it has a verdict; at most nine bytes of a connection.
//
// What the server's first bytes say. A server that speaks before its client has, or could have, said anything speaks
// something opaque (SSH, SMTP, MySQL, FTP, …), and at its first byte, so that nobody waits. Two exceptions, measured:
//
//   HTTP/2 servers send SETTINGS before they have read anything    length ≤ 2^14, divisible by 6 | type 4 | flags | stream 0
//   HTTP/1 servers answer an idle connection with 408              "HTTP/1."
//
// The length is one that a frame may have before anything was agreed (RFC 9113 §4.2), so a greeting fails at its first byte.

/** http2: a SETTINGS frame. http: an answer. tls: a handshake or an alert. opaque: nothing of these. */
export type ServerVerdict = "http" | "http2" | "tls" | "opaque";

const answer = Buffer.from("HTTP/1.");
const frameHeaderBytes = 9;
const settingsType = 4;
const settingBytes = 6;
const maxFrameBytes = 2 ** 14;
const tlsAlert = 21;
const tlsHandshake = 22;
const tlsMajor = 3;

export class ServerOpening {
  /** Undefined: its bytes do not say yet. */
  verdict: ServerVerdict | undefined;
  #matched: number;
  #first: number;
  /** Of the frame, as far as it has been read. */
  #frameBytes: number;

  constructor() {
    this.verdict = undefined;
    this.#matched = 0;
    this.#first = 0;
    this.#frameBytes = 0;
  }

  /** The next bytes. Nothing more to do once there is a verdict. */
  feed(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to && this.verdict === undefined; at++) this.#take(bytes[at]!);
  }

  get hasSpoken(): boolean {
    return this.#matched > 0;
  }

  #take(byte: number): void {
    const position = this.#matched++;
    if (position === 0) this.#first = byte;
    const first = this.#first;
    if (first === answer[0]) {
      if (byte !== answer[position]) this.verdict = "opaque";
      else if (this.#matched === answer.length) this.verdict = "http";
    } else if (first === tlsHandshake || first === tlsAlert) {
      if (position === 1) this.verdict = byte === tlsMajor ? "tls" : "opaque";
    } else if (!this.#isSettings(byte, position)) this.verdict = "opaque";
    else if (this.#matched === frameHeaderBytes) this.verdict = "http2";
  }

  #isSettings(byte: number, position: number): boolean {
    if (position < 3) {
      this.#frameBytes = this.#frameBytes * 256 + byte;
      // 0x00 | at most 0x40 | …
      if (this.#frameBytes > maxFrameBytes >>> (8 * (2 - position))) return false;
      return position < 2 || this.#frameBytes % settingBytes === 0;
    }
    if (position === 3) return byte === settingsType;
    if (position === 4) return true; // flags
    return (position === 5 ? byte & 0x7f : byte) === 0; // the first bit is reserved: ignored
  }
}
