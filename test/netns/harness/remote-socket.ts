// A socket in a pod whose every call the test makes, one process each (tools/socket.c). What a library would hide is
// visible: whether a stream ended by FIN or by RST, what getpeername says, how much fits until the peer must read.

import type { RunningProcess } from "./running-process.ts";

interface Reply {
  readonly error?: string;
  readonly hex?: string;
  readonly bytes?: number;
  readonly local?: string;
  readonly peer?: string;
}

/** `fin`: the peer ended its direction; `reset`: the connection is gone. */
export type End = "fin" | "reset";

export class RemoteSocket {
  readonly #process: RunningProcess;
  #calls = 0;

  constructor(process: RunningProcess) {
    this.#process = process;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Through an IPv6 socket when the address is one: `::ffff:10.96.0.10` is what Java and Node do for IPv4. Rejects with the errno's name. */
  async connect(address: string, port: number, options: { from?: string; fromPort?: number } = {}): Promise<this> {
    const { from, fromPort } = options;
    await this.#call(`connect ${address} ${port} ${from ?? ""} ${fromPort ?? ""}`);
    return this;
  }

  async listen(address: string, port: number): Promise<void> {
    await this.#call(`listen ${address} ${port}`);
  }

  /** Binds another socket, which it closes at once. Rejects with the errno's name. */
  async bind(address: string, port: number): Promise<void> {
    await this.#call(`bind ${address} ${port}`);
  }

  /** How many connections wait to be accepted. */
  async waiting(): Promise<number> {
    return (await this.#call("waiting")).bytes!;
  }

  /** Waits for a connection; the listener stays, the calls below are about the connection. */
  async accept(): Promise<void> {
    await this.#call("accept");
  }

  async names(): Promise<{ local: string; peer: string }> {
    const { local, peer } = await this.#call("names");
    return { local: local!, peer: peer! };
  }

  async send(text: string): Promise<void> {
    await this.#call(`send ${Buffer.from(text).toString("hex")}`);
  }

  /** Exactly that many bytes. */
  async receive(bytes: number): Promise<string> {
    const { hex } = await this.#call(`receive ${bytes}`);
    return Buffer.from(hex!, "hex").toString();
  }

  /** Writes until nothing was accepted for a second, at most `limit`; the number of bytes written. */
  async fill(limit: number): Promise<number> {
    return (await this.#call(`fill ${limit}`)).bytes!;
  }

  /** Reads to the end of the stream and says how it ended. */
  async ending(): Promise<{ bytes: number; end: End }> {
    const { bytes, error } = await this.#call("ending");
    if (error !== undefined && error !== "ECONNRESET") throw new Error(error);
    return { bytes: bytes!, end: error === undefined ? "fin" : "reset" };
  }

  /** FIN: nothing more from here. */
  async shutdown(): Promise<void> {
    await this.#call("shutdown");
  }

  async close(): Promise<void> {
    await this.#call("close");
  }

  /** Ends its process: everything of it is closed. */
  async end(): Promise<void> {
    this.#process.endInput();
    await this.#process.exited;
  }

  /** RST. */
  async reset(): Promise<void> {
    await this.#call("reset");
  }

  async #call(line: string): Promise<Reply> {
    const number = ++this.#calls;
    this.#process.writeLine(line);
    const answered = (lines: readonly string[]) => lines.length >= number;
    await this.#process.stdout.until(`the answer to "${line.slice(0, 60)}"`, answered);
    const reply = JSON.parse(this.#process.stdout.items[number - 1]!) as Reply;
    if (reply.error !== undefined && reply.bytes === undefined)
      throw new Error(`${line.split(" ", 3).join(" ")}: ${reply.error}`);
    return reply;
  }
}
