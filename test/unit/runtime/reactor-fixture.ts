// A reactor with a listener on loopback and a handler that records what it is told; node:net is the other side.

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Connection, ConnectionHandler } from "../../../src/runtime/connection.ts";
import { statCount } from "../../../src/runtime/layout.ts";
import { type Fd, native } from "../../../src/runtime/native.ts";
import { type Accepted, Reactor } from "../../../src/runtime/reactor.ts";
import { workerStats } from "../../../src/telemetry/worker-stats.ts";

export const ownNetns: Fd = native.netns("open", { path: "/proc/self/ns/net" }).netns;
/** Where each figure stands in the statistics row. */
export const stat = {
  turns: statIndex("Turns"),
  rounds: statIndex("Rounds"),
  handedOver: statIndex("HandedOver"),
  openConnections: statIndex("OpenConnections"),
  blocksInUse: statIndex("BlocksInUse"),
  staleHandles: statIndex("StaleHandles"),
  starvedReads: statIndex("StarvedReads"),
  tlsSessions: statIndex("TlsSessions"),
  tlsEstablished: statIndex("TlsEstablished"),
  tlsFailures: statIndex("TlsFailures"),
  tlsPutOff: statIndex("TlsPutOff"),
};

function statIndex(name: string): number {
  const index = workerStats.findIndex(({ stat }) => stat === name);
  if (index < 0) throw new Error(`no statistic ${name}`);
  return index;
}

let nextPort = 20_000 + (process.pid % 10_000);

export const loopbacks = ["127.0.0.1", "::1"] as const;
export type Loopback = (typeof loopbacks)[number];

/** A listener on a free port. */
export function listenOnLoopback(
  backlog = 128,
  address: Loopback = "127.0.0.1",
): { fd: Fd; port: number; address: Loopback } {
  for (;;) {
    const port = nextPort++;
    try {
      return { ...native.netns("listen", { netns: ownNetns, address, port, backlog }), port, address };
    } catch (error) {
      if ((error as { errno?: string }).errno !== "EADDRINUSE") throw error;
    }
  }
}

export function loopback(port: number, address: Loopback = "127.0.0.1") {
  return address === "::1" ? { w0: 0, w1: 0, w2: 0, w3: 1, port } : { w0: 0, w1: 0, w2: 0xffff, w3: 0x7f000001, port };
}

/** Keeps what it is told as words; bytes are released. Override what a test needs. */
export class Recorder implements ConnectionHandler {
  readonly told: string[] = [];
  readonly #waiting: { word: string; resolve: () => void }[] = [];

  onConnected(_connection: Connection): void {
    this.tell("connected");
  }
  onData(connection: Connection, block: number, generation: number, _offset: number, _length: number): void {
    this.tell("data");
    connection.reactor.release(block, generation);
  }
  onEnd(_connection: Connection): void {
    this.tell("end");
  }
  onBlocked(_connection: Connection): void {
    this.tell("blocked");
  }
  onDrained(_connection: Connection): void {
    this.tell("drained");
  }
  onClosed(_connection: Connection, errno: number, wasConnected: boolean): void {
    this.tell(`closed ${errno} ${wasConnected}`);
  }

  tell(word: string): void {
    this.told.push(word);
    for (const waiting of this.#waiting.filter((each) => word.startsWith(each.word))) waiting.resolve();
  }

  /** Resolves when a word that begins so has been told. */
  async hears(word: string): Promise<void> {
    if (this.told.some((each) => each.startsWith(word))) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ word, resolve });
    await promise;
  }
}

/**
 * A reactor's turn waits for its own events as long as libuv would sleep, and does not see those of node:net beside it. Held
 * while much goes back and forth between the two; in a worker there is nothing beside it.
 */
export function stayAwake(): Disposable {
  let immediate = setImmediate(function again() {
    immediate = setImmediate(again);
  });
  return { [Symbol.dispose]: () => clearImmediate(immediate) };
}

export class ReactorFixture implements Disposable {
  readonly stats: Float64Array;
  readonly reactor: Reactor;
  readonly port: number;
  readonly address: Loopback;
  readonly fd: Fd;
  readonly #accepted: { connection: Connection; accepted: Accepted }[] = [];
  #onAccepted: (() => void) | undefined;

  /** `handlerFor` is asked for every accepted connection. */
  constructor(
    handlerFor: (connection: Connection) => ConnectionHandler,
    { blocks = 64, worker = 0, shared = listenOnLoopback() } = {},
  ) {
    this.stats = new Float64Array(new SharedArrayBuffer(statCount * 8));
    this.reactor = new Reactor({ blocks, worker, poison: true, stats: this.stats });
    this.fd = shared.fd;
    this.port = shared.port;
    this.address = shared.address;
    this.reactor.listen(this.fd, 1, undefined, {
      onAccepted: (connection, accepted) => {
        this.#accepted.push({ connection, accepted });
        this.#onAccepted?.();
        return handlerFor(connection);
      },
    });
    this.reactor.flush();
  }

  get accepted(): readonly Connection[] {
    return this.#accepted.map(({ connection }) => connection);
  }

  /** The `count`-th accepted connection, when it is there. */
  async acceptedConnection(count = 1): Promise<Connection> {
    while (this.#accepted.length < count) await new Promise<void>((resolve) => (this.#onAccepted = resolve));
    return this.#accepted[count - 1]!.connection;
  }

  async dial(): Promise<Socket> {
    const socket = connect({ port: this.port, host: this.address, allowHalfOpen: true });
    socket.on("error", () => {});
    await once(socket, "connect");
    return socket;
  }

  [Symbol.dispose](): void {
    this.reactor.close();
    native.netns("close", { fd: this.fd });
  }
}

/** Bytes that are somewhere else than they should be do not go unnoticed. */
export function pattern(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let x = seed | 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}
