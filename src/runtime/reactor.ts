// Hot: runs per event; no closure, allocation or string per chunk; measured by bench/micro/reactor.ts.
//
// One worker's reactor as the proxy sees it: connections with handlers instead of rings of words. Commands are collected
// and executed when the turn's handlers have returned (outside a turn: in a microtask), so what one turn writes to one
// connection leaves in one system call.

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

/** An IPv6 or v4-mapped address as four 32-bit words (signed), most significant first, and a port. */
export interface SocketWords {
  w0: number;
  w1: number;
  w2: number;
  w3: number;
  port: number;
}

/** Told by native about one connection; the last call for every connection is `onClosed`. */
export interface ConnectionHandler {
  /** `passage` is what the kernel knows of it, if `bypassMap` was given. */
  onConnected(connection: Connection, passage: Passage): void;
  /**
   * `length` bytes at `offset` of the slab. The handler owns `block` now: it hands it on with `connection.write(…, true)`
   * or gives it back with `reactor.release(block, generation)`.
   */
  onData(connection: Connection, block: number, generation: number, offset: number, length: number): void;
  /** The peer sent FIN. Writing goes on. */
  onEnd(connection: Connection): void;
  /** A write could not complete: stop what feeds this connection. */
  onBlocked(connection: Connection): void;
  /** Everything written is with the kernel: go on. */
  onDrained(connection: Connection): void;
  /** `errno` is 0 when a command closed it. `wasConnected` is false when connecting failed. */
  onClosed(connection: Connection, errno: number, wasConnected: boolean): void;
}

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

/** Whoever decides about the peer of a TLS session. */
export interface TlsHandler {
  /**
   * The handshake is over: the peer holds the key of `certificate` (DER; undefined: it has none), whose chain, dates and
   * usage are right, and `protocol` is the agreed one's index in the context's list or -1. Nothing of the peer's is
   * delivered and nothing is sent before `acceptPeer`; the session's time runs until then.
   */
  onTlsEstablished(connection: Connection, certificate: Uint8Array | undefined, protocol: number): void;
}

export interface TlsOptions {
  /** An id of native.setTlsContext. */
  context: number;
  isServer: boolean;
  /** Bits of the context's list of protocols: one of them must be agreed on. 0: no ALPN. */
  protocols: number;
  /** From the connection's standing until `acceptPeer`. */
  timeoutMs: number;
}

const ignoreEvents: ConnectionHandler = {
  onConnected() {},
  onData(connection, block, generation) {
    connection.reactor.release(block, generation);
  },
  onEnd() {},
  onBlocked() {},
  onDrained() {},
  onClosed() {},
};

/** A socket. Commands after `close` or `reset`, or after `onClosed`, do nothing. */
export class Connection {
  readonly reactor: Reactor;
  readonly index: number;
  readonly generation: number;
  handler: ConnectionHandler;
  isClosing: boolean;
  /** In `onClosed`: why TLS ended the connection (tlsFailure of layout.ts), and the alert that was sent or received. */
  tlsFailure: number;
  tlsAlert: number;
  /** For Reactor. */
  tlsHandler: TlsHandler | undefined;

  constructor(reactor: Reactor, index: number, generation: number) {
    this.reactor = reactor;
    this.index = index;
    this.generation = generation;
    this.handler = ignoreEvents;
    this.isClosing = false;
    this.tlsFailure = 0;
    this.tlsAlert = 0;
    this.tlsHandler = undefined;
  }

  /**
   * Speaks TLS 1.3 from here on: call it in `onAccepted`, or at once after `connect`, before anything is read. What is
   * written before the peer is accepted waits.
   */
  startTls(options: TlsOptions, handler: TlsHandler): void {
    this.tlsHandler = handler;
    const at = this.reactor.command(command.startTls, 1);
    const words = this.reactor.commands;
    words[at + 1] = this.index;
    words[at + 2] = this.generation;
    words[at + 3] = options.context;
    words[at + 4] = options.isServer ? 1 : 0;
    words[at + 5] = options.timeoutMs;
    words[at + 6] = options.protocols;
  }

  /** After `onTlsEstablished`: the connection is an ordinary one from now on, its FIN and `end` authenticated. */
  acceptPeer(): void {
    this.#send(command.tlsAccept, 0, 0);
  }

  /** After `onTlsEstablished`: ends the connection with that alert (RFC 8446 §6.2), such as 49, access_denied. */
  refusePeer(alert: number): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.#send(command.tlsRefuse, alert, 0);
  }

  /** Queues a slice of a block without a copy. `givesUp`: the caller does not use the block any more. */
  write(block: number, blockGeneration: number, offset: number, length: number, givesUp: boolean): void {
    const at = this.reactor.command(command.write, 1);
    const words = this.reactor.commands;
    words[at + 1] = this.index;
    words[at + 2] = this.generation;
    words[at + 3] = block;
    words[at + 4] = blockGeneration;
    words[at + 5] = offset;
    words[at + 6] = length;
    words[at + 7] = givesUp ? 1 : 0;
  }

  /** FIN after what is queued. */
  shutdown(): void {
    this.#send(command.shutdown, 0, 0);
  }

  /** Closes after what is queued is with the kernel; resets if that takes longer than `lingerMs` (0: however long). */
  close(lingerMs: number): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.#send(command.close, lingerMs, 0);
  }

  /** Sends RST after what is queued is with the kernel, at the latest after `lingerMs`. */
  resetAfterQueue(lingerMs: number): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.#send(command.close, lingerMs, 1);
  }

  /** RST now; the handler hears of it no more. */
  discard(): void {
    this.handler = ignoreEvents;
    this.reset();
  }

  /** RST now. */
  reset(): void {
    this.isClosing = true;
    this.#send(command.reset, 0, 0);
  }

  pause(): void {
    this.#send(command.pause, 0, 0);
  }

  resume(): void {
    this.#send(command.resume, 0, 0);
  }

  #send(type: number, first: number, second: number): void {
    const at = this.reactor.command(type, 1);
    const words = this.reactor.commands;
    words[at + 1] = this.index;
    words[at + 2] = this.generation;
    words[at + 3] = first;
    words[at + 4] = second;
  }
}

export class Reactor {
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
