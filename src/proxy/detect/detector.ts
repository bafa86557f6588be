// Hot: runs per chunk until both sides' first bytes have been seen; measured by bench/micro/detect.ts.
//
// What one connection speaks, told by the first bytes of both sides in the order in which they come. Pure: it holds no
// byte and delays none; whoever drives it decides what waits for `protocol`.
//
//   the client said enough                                  -> what it said              detected
//   the server spoke before that                            -> opaque                    server_first
//      … with a SETTINGS frame, or the beginning of one     -> the client will tell: http2 once its preface is there
//      … with `HTTP/1.` (408 to an idle client)             -> the client will tell
//   neither                                                 -> not known; a time-out is the driver's
//
// What it teaches about the destination takes the server: a client alone can teach nothing, nor with answers that it
// provokes by junk. An answer of the client's protocol confirms that; a server that spoke to a silent client is opaque;
// one that answered half a request line with something opaque contradicts what was learned before. Nothing else teaches.

import { ClientOpening, type SeenProtocol } from "./client-opening.ts";
import { ServerOpening } from "./server-opening.ts";

/** What a connection teaches: a protocol, that the server speaks none of them, or nothing. */
export type Lesson = SeenProtocol | "contrary" | undefined;

export class Detector {
  /** Undefined: not known yet. */
  protocol: SeenProtocol | undefined;
  by: "detected" | "server_first";
  /** Nothing is left to be seen; `lesson` is known. */
  isDone: boolean;
  lesson: Lesson;
  readonly #client: ClientOpening;
  readonly #server: ServerOpening;
  #serverWasFirst: boolean;

  constructor() {
    this.protocol = undefined;
    this.by = "detected";
    this.isDone = false;
    this.lesson = undefined;
    this.#client = new ClientOpening();
    this.#server = new ServerOpening();
    this.#serverWasFirst = false;
  }

  /** The next bytes of the client. */
  onClient(bytes: Uint8Array, from: number, to: number): void {
    this.#client.feed(bytes, from, to);
    this.#conclude();
  }

  /** The client's FIN. */
  onClientEnd(): void {
    this.#client.end();
    this.#conclude();
  }

  /** The next bytes of the server. */
  onServer(bytes: Uint8Array, from: number, to: number): void {
    if (from === to) return;
    if (!this.#client.hasSpoken) this.#serverWasFirst = true;
    this.#server.feed(bytes, from, to);
    this.#conclude();
  }

  get clientHasSpoken(): boolean {
    return this.#client.hasSpoken;
  }

  /** The host of the client's TLS, if it named one. */
  get serverName(): string | undefined {
    return this.#client.serverName;
  }

  /** Whether what was learned may stand in for what is not known yet. */
  couldBe(protocol: SeenProtocol): boolean {
    if (this.#server.verdict === "http2" && protocol !== "http2") return false;
    return this.#client.couldBe(protocol);
  }

  #conclude(): void {
    const client = this.#client.verdict;
    const server = this.#server.verdict;
    if (this.protocol === undefined) {
      if (client !== undefined) this.protocol = client;
      else if (server === "opaque" || (server === "tls" && this.#serverWasFirst)) {
        this.protocol = "opaque";
        this.by = "server_first";
      } else return;
    }
    if (this.isDone || server === undefined) return;
    if (this.by === "server_first" || client !== undefined) {
      this.isDone = true;
      this.lesson = this.#teaches(server);
    }
  }

  #teaches(server: ServerOpening["verdict"]): Lesson {
    if (this.by === "server_first") return this.#serverWasFirst ? "opaque" : "contrary";
    if (server === "opaque" || (server === "http" && this.#serverWasFirst)) return undefined;
    return server === this.#client.verdict ? server : undefined;
  }
}
