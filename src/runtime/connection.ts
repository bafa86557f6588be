// Hot: runs per event; no closure, allocation or string per chunk; measured by bench/micro/reactor-costs.ts.
//
// A socket of a reactor, as its handler sees it: what it is told, and what it can command.

import { command, type Passage } from "./layout.ts";

/** An IPv6 or v4-mapped address as four 32-bit words (signed), most significant first, and a port. */
export interface SocketWords {
  w0: number;
  w1: number;
  w2: number;
  w3: number;
  port: number;
}

/** The reactor that a connection is of. */
export interface ConnectionReactor {
  /** All blocks; handlers read the bytes of their slices here. */
  readonly slab: Uint8Array;
  /** For Connection. */
  readonly commands: Int32Array;
  /** Room for a command of `records` records: the index of its first word. */
  command(type: number, records: number): number;
  /** Gives a block back. */
  release(block: number, generation: number): void;
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

/** A socket. Commands after `close` (but `reset`), after `reset` or after `onClosed` do nothing. */
export class Connection {
  readonly reactor: ConnectionReactor;
  readonly index: number;
  readonly generation: number;
  handler: ConnectionHandler;
  isClosing: boolean;
  /** In `onClosed`: why TLS ended the connection (tlsFailure of layout.ts), and the alert that was sent or received. */
  tlsFailure: number;
  tlsAlert: number;
  /** For Reactor. */
  tlsHandler: TlsHandler | undefined;

  constructor(reactor: ConnectionReactor, index: number, generation: number) {
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

  /**
   * After `onTlsEstablished`, also after `acceptPeer`: ends the connection with that alert (RFC 8446 §6.2), such as 49,
   * access_denied. What is queued is dropped.
   */
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
