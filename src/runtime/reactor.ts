// Hot: runs per event; no closure, allocation or string per chunk; measured by bench/micro/reactor-costs.ts.
//
// One worker's reactor as the proxy sees it: connections with handlers (connection.ts) instead of rings of words. Commands
// are collected and executed when the turn's handlers have returned (outside a turn: in a microtask), so what one turn
// writes to one connection leaves in one system call.

import { Connection, type ConnectionHandler, type ConnectionReactor, type SocketWords } from "./connection.ts";
import {
  acceptedHasOriginal,
  acceptedRecords,
  command,
  commandRecords,
  connectRecords,
  connectTransparent,
  event,
  filledWord,
  type Passage,
  recordWords,
} from "./layout.ts";
import { type Fd, type NativeReactor, native, type ReactorOptions } from "./native.ts";

export interface Accepted {
  readonly listener: number;
  readonly local: SocketWords;
  readonly peer: SocketWords;
  /** Where the application wanted to go, of connections to a listener with an original_destination map. */
  readonly original: SocketWords | undefined;
  /** From the same record. */
  readonly podId: number;
}

export interface Acceptor {
  /** Returns who handles the connection from now on. */
  onAccepted(connection: Connection, accepted: Accepted): ConnectionHandler;
}

export interface ConnectOptions {
  /** The namespace in which the socket is created; undefined: this process's own. */
  netns: Fd | undefined;
  destination: SocketWords;
  /** Bound before connecting; port 0: any. */
  source?: SocketWords | undefined;
  timeoutMs: number;
  /** The source is another's address; its port must be given. */
  isTransparent?: boolean;
  /** SO_MARK; 0: none. */
  mark?: number;
  /** Asks there whether the connection arrived as it was made: `passage` of `onConnected`. */
  bypassMap?: Fd | undefined;
}

export class Reactor implements ConnectionReactor {
  /** All blocks; handlers read the bytes of their slices here. */
  readonly slab: Uint8Array;
  /** For Connection. */
  readonly commands: Int32Array;
  #native: NativeReactor;
  #events: Int32Array;
  #generations: Int32Array;
  #inTurn: boolean;
  #flushIsQueued: boolean;
  #connections: (Connection | undefined)[];
  #acceptors: Map<number, Acceptor>;
  #timers: Map<number, () => void>;
  #nextTimer: number;

  constructor(options: ReactorOptions) {
    this.#native = new native.Reactor(options);
    this.slab = new Uint8Array(this.#native.slab);
    this.commands = new Int32Array(this.#native.commands);
    this.#events = new Int32Array(this.#native.events);
    this.#generations = new Int32Array(this.#native.generations);
    this.#inTurn = false;
    this.#flushIsQueued = false;
    this.#connections = [];
    this.#acceptors = new Map();
    this.#timers = new Map();
    this.#nextTimer = 1;
    this.#native.start((begin, end) => this.#turn(begin, end));
  }

  /** Undefined when there are too many connections. `handler.onClosed` tells of a failure. */
  connect(options: ConnectOptions, handler: ConnectionHandler): Connection | undefined {
    const index = this.#native.reserve();
    if (index < 0) return undefined;
    const connection = new Connection(this, index, this.#generations[index]!);
    connection.handler = handler;
    this.#connections[index] = connection;
    const at = this.command(command.connect, connectRecords);
    const words = this.commands;
    words[at + 1] = index;
    words[at + 2] = connection.generation;
    words[at + 3] = options.netns ?? -1;
    words[at + 4] = 0;
    words[at + 5] = options.timeoutMs;
    words[at + 6] = options.mark ?? 0;
    words[at + 7] = options.isTransparent === true ? connectTransparent : 0;
    const { destination, source } = options;
    words[at + 8] = destination.w0;
    words[at + 9] = destination.w1;
    words[at + 10] = destination.w2;
    words[at + 11] = destination.w3;
    words[at + 12] = source === undefined ? 0 : source.w0;
    words[at + 13] = source === undefined ? 0 : source.w1;
    words[at + 14] = source === undefined ? 0 : source.w2;
    words[at + 15] = source === undefined ? 0 : source.w3;
    words[at + 16] = destination.port;
    words[at + 17] = source === undefined ? 0 : source.port;
    words[at + 18] = options.bypassMap ?? -1;
    return connection;
  }

  /** Accepts from `fd`, which stays the caller's. With `originalMap`, connections without a record there are reset. */
  listen(fd: Fd, listener: number, originalMap: Fd | undefined, acceptor: Acceptor): void {
    this.#acceptors.set(listener, acceptor);
    const at = this.command(command.listen, 1);
    this.commands[at + 1] = fd;
    this.commands[at + 3] = listener;
    this.commands[at + 4] = originalMap ?? -1;
  }

  /** Accepts what waits in the queue, then stops: afterwards the descriptor may be closed. */
  unlisten(listener: number): void {
    const at = this.command(command.unlisten, 1);
    this.commands[at + 1] = listener;
    this.flush();
  }

  /** After `unlisten`, when what that accepted has been handled: what another worker hands over later is reset. */
  forgetListener(listener: number): void {
    this.#acceptors.delete(listener);
  }

  /** Closes the sockets kept ready in a namespace; call before its descriptor is closed. */
  forgetNetns(netns: Fd): void {
    const at = this.command(command.forgetNetns, 1);
    this.commands[at + 1] = netns;
    this.flush();
  }

  /** Gives a block back. */
  release(block: number, generation: number): void {
    const at = this.command(command.release, 1);
    this.commands[at + 3] = block;
    this.commands[at + 4] = generation;
  }

  setTimer(ms: number, callback: () => void): number {
    const timer = this.#nextTimer++;
    this.#timers.set(timer, callback);
    const at = this.command(command.setTimer, 1);
    this.commands[at + 1] = timer;
    this.commands[at + 3] = ms;
    return timer;
  }

  clearTimer(timer: number): void {
    if (!this.#timers.delete(timer)) return;
    const at = this.command(command.clearTimer, 1);
    this.commands[at + 1] = timer;
  }

  close(): void {
    this.commands[filledWord] = 0;
    this.#native.close();
  }

  /** Room for a command of `records` records: the index of its first word. */
  command(type: number, records: number): number {
    if (this.commands[filledWord]! + records * recordWords > commandRecords * recordWords) this.flush();
    if (!this.#inTurn && !this.#flushIsQueued) {
      this.#flushIsQueued = true;
      queueMicrotask(() => {
        this.#flushIsQueued = false;
        this.flush();
      });
    }
    const at = this.commands[filledWord]!;
    this.commands[filledWord] = at + records * recordWords;
    this.commands[at] = type;
    return at;
  }

  /** Executes what was commanded so far now rather than at the end of the turn. */
  flush(): void {
    const words = this.commands[filledWord]!;
    this.commands[filledWord] = 0;
    if (words > 0) this.#native.submit(words);
  }

  #turn(begin: number, end: number): void {
    // Commands that a microtask left behind come first: their order is kept.
    this.#inTurn = true;
    const words = this.#events;
    for (let at = begin; at < end; at += recordWords) {
      const type = words[at]!;
      if (type === event.timer) {
        this.#fireTimer(words[at + 1]!);
        continue;
      }
      if (type === event.accepted) {
        this.#accept(at);
        at += (acceptedRecords - 1) * recordWords;
        continue;
      }
      const connection = this.#connections[words[at + 1]!];
      if (connection === undefined || connection.generation !== words[at + 2]!) {
        throw new Error(`reactor: event ${type} for connection ${words[at + 1]}, which is not open`);
      }
      if (type === event.closed) {
        this.#connections[connection.index] = undefined;
        connection.isClosing = true;
        connection.tlsFailure = words[at + 5]!;
        connection.tlsAlert = words[at + 6]!;
        connection.handler.onClosed(connection, words[at + 3]!, words[at + 4] === 1);
      } else if (type === event.data) {
        if (connection.isClosing) this.release(words[at + 3]!, words[at + 4]!);
        else connection.handler.onData(connection, words[at + 3]!, words[at + 4]!, words[at + 5]!, words[at + 6]!);
      } else if (type === event.tlsEstablished) {
        this.#tellEstablished(connection, at);
      } else if (!connection.isClosing) {
        if (type === event.blocked) connection.handler.onBlocked(connection);
        else if (type === event.drained) connection.handler.onDrained(connection);
        else if (type === event.end) connection.handler.onEnd(connection);
        else if (type === event.connected) connection.handler.onConnected(connection, words[at + 3]! as Passage);
      }
    }
    this.#inTurn = false;
  }

  #accept(at: number): void {
    const words = this.#events;
    const listener = words[at + 3]!;
    const connection = new Connection(this, words[at + 1]!, words[at + 2]!);
    this.#connections[connection.index] = connection;
    const acceptor = this.#acceptors.get(listener);
    if (acceptor === undefined) {
      connection.discard();
      return;
    }
    connection.handler = acceptor.onAccepted(connection, {
      listener,
      local: socketWords(words, at + 8, words[at + 20]!),
      peer: socketWords(words, at + 12, words[at + 21]!),
      original: words[at + 4] === acceptedHasOriginal ? socketWords(words, at + 16, words[at + 22]!) : undefined,
      podId: words[at + 23]!,
    });
  }

  #tellEstablished(connection: Connection, at: number): void {
    const words = this.#events;
    const offset = words[at + 5]!;
    const length = words[at + 6]!;
    const protocol = words[at + 7]!;
    const certificate = length === 0 ? undefined : this.slab.slice(offset, offset + length);
    if (certificate !== undefined) this.release(words[at + 3]!, words[at + 4]!);
    if (!connection.isClosing) connection.tlsHandler?.onTlsEstablished(connection, certificate, protocol);
  }

  #fireTimer(timer: number): void {
    const callback = this.#timers.get(timer);
    this.#timers.delete(timer);
    callback?.();
  }
}

function socketWords(words: Int32Array, at: number, port: number): SocketWords {
  return { w0: words[at]!, w1: words[at + 1]!, w2: words[at + 2]!, w3: words[at + 3]!, port };
}
