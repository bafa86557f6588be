// Hot: runs per chunk until it has a verdict, which is the first one for nearly every connection; measured by
// bench/micro/detect.ts.
//
// What the client's first bytes say, over as many segments as they take. Every possibility is followed until one of
// them matches or all have been ruled out; then the bytes are opaque. No byte is kept.

import type { Protocol } from "../../mesh/protocol.ts";
import { ClientHello, handshakeRecord } from "./client-hello.ts";
import { Preface } from "./preface.ts";
import { matches, mismatches, undecided } from "./progress.ts";
import { RequestLine } from "./request-line.ts";

/** What bytes can show: gRPC is HTTP/2 until its headers are read. */
export type SeenProtocol = Exclude<Protocol, "grpc">;

const firstOfPreface = 0x50; // P

export class ClientOpening {
  /** What the client speaks; undefined: its bytes do not say yet. */
  verdict: SeenProtocol | undefined;
  hasSpoken: boolean;
  /** What is possible still. */
  #requestLine: RequestLine | undefined;
  #preface: Preface | undefined;
  #hello: ClientHello | undefined;

  constructor() {
    this.verdict = undefined;
    this.hasSpoken = false;
    this.#requestLine = undefined;
    this.#preface = undefined;
    this.#hello = undefined;
  }

  /** The next bytes. Nothing more to do once there is a verdict. */
  feed(bytes: Uint8Array, from: number, to: number): void {
    if (this.verdict !== undefined || from === to) return;
    if (!this.hasSpoken) this.#start(bytes[from]!);
    if (this.#hello !== undefined) {
      const progress = this.#hello.feed(bytes, from, to);
      if (progress !== undecided) this.verdict = progress === matches ? "tls" : "opaque";
      return;
    }
    if (this.#preface !== undefined) {
      const progress = this.#preface.feed(bytes, from, to);
      if (progress === matches) this.verdict = "http2";
      if (progress === mismatches) this.#preface = undefined;
    }
    if (this.#requestLine !== undefined) {
      const progress = this.#requestLine.feed(bytes, from, to);
      if (progress === matches) this.verdict = "http";
      if (progress === mismatches) this.#requestLine = undefined;
    }
    if (this.#preface === undefined && this.#requestLine === undefined) this.verdict ??= "opaque";
  }

  /** FIN: what it has said is all there is. */
  end(): void {
    if (this.hasSpoken) this.verdict ??= "opaque";
  }

  /** Whether the bytes so far can be the beginning of that. */
  couldBe(protocol: SeenProtocol): boolean {
    if (this.verdict !== undefined) return this.verdict === protocol;
    if (!this.hasSpoken || protocol === "opaque") return true;
    if (protocol === "tls") return this.#hello !== undefined;
    return (protocol === "http2" ? this.#preface : this.#requestLine) !== undefined;
  }

  /** The host of the client's TLS, if it named one. */
  get serverName(): string | undefined {
    return this.#hello?.serverName;
  }

  #start(first: number): void {
    this.hasSpoken = true;
    if (first === handshakeRecord) {
      this.#hello = new ClientHello();
      return;
    }
    this.#requestLine = new RequestLine();
    if (first === firstOfPreface) this.#preface = new Preface();
  }
}
