// Both ends of TLS on loopback: the reactor with a recording handler on one side; node:tls, or whoever dials, on the other.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import {
  type ConnectionOptions,
  createServer as createTlsServer,
  type TLSSocket,
  type TlsOptions as TlsServerOptions,
  connect as tlsConnect,
} from "node:tls";
import type { Connection, TlsHandler, TlsOptions } from "../../../../src/runtime/connection.ts";
import { tlsFailure } from "../../../../src/runtime/layout.ts";
import { native, type TlsContextOptions } from "../../../../src/runtime/native.ts";
import { type Loopback, listenOnLoopback, loopback, pattern, ReactorFixture, Recorder } from "../reactor-fixture.ts";
import { Authority, chainPem, type Identity, keyPem, pemOf } from "./certificates.ts";

export const mesh = new Authority("mesh root");
export const web = mesh.issue();
export const protocols = ["h2", "http/1.1"] as const;
export const h2 = 1;

let nextContext = 1;

export type ContextChoice = Partial<TlsContextOptions> & { identity?: Identity };

export function contextOptions({ identity = web, ...rest }: ContextChoice = {}): TlsContextOptions {
  return {
    certificateChain: identity.chain,
    key: identity.key,
    roots: [mesh.root],
    protocols,
    requiresPeerCertificate: true,
    isHybrid: false,
    keyUpdateRecords: 2 ** 23,
    ...rest,
  };
}

/** A context's new id. */
export function makeContext(choice?: ContextChoice): number {
  const id = nextContext++;
  native.setTlsContext(id, contextOptions(choice));
  return id;
}

const failureNames = new Map<number, string>(Object.entries(tlsFailure).map(([name, number]) => [number, name]));

/** Tells `established <protocol>`, then what any connection tells; `failed <reason> <alert>` before `closed` if TLS did. Keeps the bytes. */
export class TlsRecorder extends Recorder implements TlsHandler {
  certificate: Buffer | undefined;
  connection: Connection | undefined;
  readonly #chunks: Buffer[] = [];
  readonly #decide: (connection: Connection) => void;
  #length = 0;

  constructor(decide: (connection: Connection) => void = (connection) => connection.acceptPeer()) {
    super();
    this.#decide = decide;
  }

  onTlsEstablished(connection: Connection, certificate: Uint8Array | undefined, protocol: number): void {
    this.connection = connection;
    this.certificate = certificate === undefined ? undefined : Buffer.from(certificate);
    this.tell(`established ${protocol}`);
    this.#decide(connection);
  }

  override onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
    this.keep(connection, offset, length);
    super.onData(connection, block, generation, offset, length);
    this.tell(`bytes ${this.#length}`);
  }

  override onClosed(connection: Connection, errno: number, wasConnected: boolean): void {
    if (connection.tlsFailure !== 0) {
      this.tell(`failed ${failureNames.get(connection.tlsFailure)} ${connection.tlsAlert}`);
    }
    super.onClosed(connection, errno, wasConnected);
  }

  keep(connection: Connection, offset: number, length: number): void {
    this.#chunks.push(Buffer.from(connection.reactor.slab.subarray(offset, offset + length)));
    this.#length += length;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get length(): number {
    return this.#length;
  }
}

/** Sends every byte back, with the back-pressure of a proxy, and closes when the peer has ended. */
export class TlsEcho extends TlsRecorder {
  override onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
    connection.write(block, generation, offset, length, true);
    this.tell("data");
  }
  override onBlocked(connection: Connection): void {
    connection.pause();
    super.onBlocked(connection);
  }
  override onDrained(connection: Connection): void {
    connection.resume();
    super.onDrained(connection);
  }
  override onEnd(connection: Connection): void {
    super.onEnd(connection);
    connection.close(0);
  }
}

export const defaultTls = { timeoutMs: 10_000, protocols: h2 };

/** A reactor that answers every connection with TLS. */
export class TlsServerFixture extends ReactorFixture {
  constructor(
    handlerFor: () => TlsRecorder,
    options: Partial<TlsOptions> & { blocks?: number; shared?: ReturnType<typeof listenOnLoopback> } = {},
  ) {
    const { blocks = 64, shared = listenOnLoopback(), context = makeContext(), ...rest } = options;
    const startTls = (connection: Connection) => {
      const handler = handlerFor();
      connection.startTls({ ...defaultTls, ...rest, context, isServer: true }, handler);
      return handler;
    };
    super(startTls, { blocks, shared });
  }

  /** Dials with node:tls. The socket's `secureConnect` has come. */
  async dialTls(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const socket = tlsConnect({ ...nodeOptions(), port: this.port, host: this.address, ...options });
    socket.on("error", () => {});
    await once(socket, "secureConnect");
    return socket;
  }
}

/** What node:tls needs to be a member of the mesh. */
export function nodeOptions(identity: Identity = web): ConnectionOptions & TlsServerOptions {
  return {
    cert: chainPem(identity),
    key: keyPem(identity),
    ca: pemOf("CERTIFICATE", mesh.root),
    ALPNProtocols: ["h2"],
    checkServerIdentity: () => undefined,
    allowHalfOpen: true,
    requestCert: true,
  } as ConnectionOptions & TlsServerOptions;
}

/** A node:tls server; `port` is where it listens. */
export async function nodeServer(
  onSocket: (socket: TLSSocket) => void,
  options: TlsServerOptions = {},
  address: Loopback = "127.0.0.1",
) {
  const server = createTlsServer({ ...nodeOptions(), ...options }, (socket) => {
    socket.on("error", () => {});
    onSocket(socket);
  }).listen(0, address);
  server.on("tlsClientError", () => {});
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return { port, server, [Symbol.dispose]: () => void server.close() };
}

/** Dials with the reactor, the address on which that listens. */
export function dialFrom(
  fixture: ReactorFixture,
  port: number,
  handler: TlsRecorder,
  options: Partial<TlsOptions> = {},
) {
  const connection = fixture.reactor.connect(
    { netns: undefined, destination: loopback(port, fixture.address), timeoutMs: 5000 },
    handler,
  )!;
  const context = options.context ?? makeContext();
  connection.startTls({ ...defaultTls, ...options, context, isServer: false }, handler);
  return connection;
}

/**
 * One direction's source and the other's sink, as in the proxy: bytes, ends and back-pressure go to `other`. What `other` is
 * given before it is there waits in the socket.
 */
export class RelayLeg extends TlsRecorder {
  other: Connection | undefined;
  hasEnded = false;

  override onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
    this.keep(connection, offset, length);
    this.other!.write(block, generation, offset, length, true);
  }
  override onEnd(connection: Connection): void {
    super.onEnd(connection);
    this.hasEnded = true;
    if ((this.other!.handler as RelayLeg).hasEnded) {
      this.other!.close(0);
      connection.close(0);
    } else {
      this.other!.shutdown();
    }
  }
  override onBlocked(connection: Connection): void {
    this.other!.pause();
    super.onBlocked(connection);
  }
  override onDrained(connection: Connection): void {
    this.other!.resume();
    super.onDrained(connection);
  }
  override onClosed(connection: Connection, errno: number, wasConnected: boolean): void {
    if (!this.other!.isClosing) this.other!.reset();
    super.onClosed(connection, errno, wasConnected);
  }
}

/** Accepts plain connections and carries each over TLS to `port`: a test writes with node:net what the reactor encrypts. */
export class TlsOriginFixture extends ReactorFixture {
  /** Of the last connection accepted. */
  readonly legs: { plain: RelayLeg; secure: RelayLeg }[];

  constructor(
    port: number,
    {
      blocks = 64,
      shared = listenOnLoopback(),
      ...options
    }: Partial<TlsOptions> & { blocks?: number; shared?: ReturnType<typeof listenOnLoopback> } = {},
  ) {
    const legs: { plain: RelayLeg; secure: RelayLeg }[] = [];
    super(
      (connection) => {
        const plain = new RelayLeg();
        const secure = new RelayLeg();
        secure.other = connection;
        plain.other = dialFrom(this, port, secure, options);
        legs.push({ plain, secure });
        return plain;
      },
      { blocks, shared },
    );
    this.legs = legs;
  }
}

/** Sends writes of those sizes, each in a turn of its own, ends its direction, and takes the same bytes back. */
export async function exchange(socket: Duplex, sizes: readonly number[]): Promise<void> {
  const bytes = pattern(
    11,
    sizes.reduce((sum, size) => sum + size),
  );
  const answer = readAll(socket);
  let at = 0;
  for (const size of sizes) {
    socket.write(bytes.subarray(at, at + size));
    at += size;
    await new Promise(setImmediate);
  }
  socket.end();
  assert.equal(hashOf(await answer), hashOf(bytes));
}

export async function readAll(socket: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "end");
  return Buffer.concat(chunks);
}

export function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
