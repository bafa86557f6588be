// A TLS 1.3 client (RFC 8446) that does what it is told and not what is right: records and messages by hand, with
// TLS_AES_128_GCM_SHA256 and X25519, far enough to send any message at any time under the right keys.

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Identity } from "./certificates.ts";

export const contentType = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;
export const messageType = {
  clientHello: 1,
  serverHello: 2,
  newSessionTicket: 4,
  encryptedExtensions: 8,
  certificate: 11,
  certificateRequest: 13,
  certificateVerify: 15,
  finished: 20,
  keyUpdate: 24,
} as const;

const hashLength = 32;
const zeros = Buffer.alloc(hashLength);
const sha256 = (...parts: readonly Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest();
const hmac = (key: Uint8Array, data: Uint8Array) => createHmac("sha256", key).update(data).digest();

function expandLabel(secret: Uint8Array, label: string, context: Uint8Array, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([u16(length), Buffer.from([name.length]), name, Buffer.from([context.length]), context]);
  return hmac(secret, Buffer.concat([info, Buffer.from([1])])).subarray(0, length);
}

export const u8 = (value: number) => Buffer.from([value]);
export const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
export const u24 = (value: number) => Buffer.from([value >> 16, (value >> 8) & 0xff, value & 0xff]);
export const vector8 = (...parts: readonly Uint8Array[]) => withLength(u8, parts);
export const vector16 = (...parts: readonly Uint8Array[]) => withLength(u16, parts);
export const vector24 = (...parts: readonly Uint8Array[]) => withLength(u24, parts);

function withLength(length: (value: number) => Buffer, parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([length(body.length), body]);
}

export function record(type: number, body: Uint8Array, version = 0x0303): Buffer {
  return Buffer.concat([u8(type), u16(version), u16(body.length), body]);
}

export function message(type: number, body: Uint8Array): Buffer {
  return Buffer.concat([u8(type), vector24(body)]);
}

export const extension = (type: number, body: Uint8Array) => Buffer.concat([u16(type), vector16(body)]);

/** Keys of one direction. */
class Keys {
  readonly #key: Buffer;
  readonly #iv: Buffer;
  #sequence = 0;

  constructor(secret: Uint8Array) {
    this.#key = expandLabel(secret, "key", Buffer.alloc(0), 16);
    this.#iv = expandLabel(secret, "iv", Buffer.alloc(0), 12);
  }

  #nonce(): Buffer {
    const nonce = Buffer.from(this.#iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#sequence++) >>> 0, 8);
    return nonce;
  }

  seal(type: number, body: Uint8Array, padding: number): Buffer {
    const inner = Buffer.concat([body, u8(type), Buffer.alloc(padding)]);
    const head = Buffer.concat([u8(contentType.applicationData), u16(0x0303), u16(inner.length + 16)]);
    const cipher = createCipheriv("aes-128-gcm", this.#key, this.#nonce()).setAAD(head);
    return Buffer.concat([head, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }

  open(sealed: Buffer): { type: number; body: Buffer } {
    const decipher = createDecipheriv("aes-128-gcm", this.#key, this.#nonce()).setAAD(sealed.subarray(0, 5));
    decipher.setAuthTag(sealed.subarray(-16));
    const inner = Buffer.concat([decipher.update(sealed.subarray(5, -16)), decipher.final()]);
    let end = inner.length;
    while (inner[end - 1] === 0) end--;
    return { type: inner[end - 1]!, body: inner.subarray(0, end - 1) };
  }
}

export interface HelloParts {
  legacyVersion?: number;
  sessionId?: Buffer;
  /** With its length. */
  cipherSuites?: Buffer;
  /** With its length. */
  compression?: Buffer;
  /** Replaces, adds or (undefined) leaves out an extension by its number. */
  extensions?: Readonly<Record<number, Buffer | undefined>>;
  /** After all extensions; may repeat one. */
  more?: readonly Buffer[];
}

export const extensionType = {
  serverName: 0,
  supportedGroups: 10,
  signatureAlgorithms: 13,
  alpn: 16,
  preSharedKey: 41,
  supportedVersions: 43,
  cookie: 44,
  pskModes: 45,
  keyShare: 51,
} as const;

export class RawClient {
  readonly socket: Socket;
  readonly #privateKey: KeyObject;
  /** Our X25519 share. */
  readonly share: Buffer;
  #transcript: Buffer[] = [];
  #input = Buffer.alloc(0);
  #isEnded = false;
  #wake: (() => void) | undefined;
  #serverKeys: Keys | undefined;
  #clientKeys: Keys | undefined;
  #clientSecret: Buffer = zeros;
  #applicationSecrets: { client: Buffer; server: Buffer } | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    const { privateKey, publicKey } = generateKeyPairSync("x25519");
    this.#privateKey = privateKey;
    this.share = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
    socket.on("data", (chunk: Buffer) => {
      this.#input = Buffer.concat([this.#input, chunk]);
      this.#wake?.();
    });
    const end = () => {
      this.#isEnded = true;
      this.#wake?.();
    };
    socket.on("end", end).on("error", end);
  }

  static async dial(port: number): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const client = new RawClient(socket);
    await once(socket, "connect");
    return client;
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** A right ClientHello message, but for what `parts` says. */
  hello(parts: HelloParts = {}): Buffer {
    const extensions: Record<number, Buffer | undefined> = {
      [extensionType.supportedGroups]: vector16(u16(0x001d), u16(0x0017)),
      [extensionType.signatureAlgorithms]: vector16(u16(0x0403), u16(0x0804)),
      [extensionType.alpn]: vector16(vector8(Buffer.from("h2"))),
      [extensionType.supportedVersions]: vector8(u16(0x0304)),
      [extensionType.keyShare]: vector16(u16(0x001d), vector16(this.share)),
      ...parts.extensions,
    };
    const body = Buffer.concat([
      u16(parts.legacyVersion ?? 0x0303),
      Buffer.alloc(32, 0x11),
      vector8(parts.sessionId ?? Buffer.alloc(0)),
      parts.cipherSuites ?? vector16(u16(0x1301)),
      parts.compression ?? vector8(u8(0)),
      vector16(
        ...Object.entries(extensions).flatMap(([type, value]) =>
          value === undefined ? [] : [extension(+type, value)],
        ),
        ...(parts.more ?? []),
      ),
    ]);
    return message(messageType.clientHello, body);
  }

  /** Sends the message in plain records of so many bytes and remembers it for the transcript. */
  sendHello(hello: Buffer = this.hello(), recordBytes = hello.length): void {
    this.#transcript.push(hello);
    const records: Buffer[] = [];
    for (let at = 0; at < hello.length; at += recordBytes)
      records.push(record(contentType.handshake, hello.subarray(at, at + recordBytes), 0x0301));
    this.send(...records);
  }

  /** Reads the server's flight and derives keys: from here on messages are sent encrypted. */
  async receiveFlight(): Promise<void> {
    const serverHello = (await this.#readRecord())!.subarray(5);
    this.#transcript.push(serverHello);
    const early = hmac(zeros, zeros);
    const secret = diffieHellman({ privateKey: this.#privateKey, publicKey: x25519(shareOf(serverHello)) });
    const handshake = hmac(expandLabel(early, "derived", sha256(), hashLength), secret);
    const hash = this.#hash();
    this.#clientSecret = expandLabel(handshake, "c hs traffic", hash, hashLength);
    this.#clientKeys = new Keys(this.#clientSecret);
    this.#serverKeys = new Keys(expandLabel(handshake, "s hs traffic", hash, hashLength));
    let messages = Buffer.alloc(0);
    while (!endsWithFinished(messages)) {
      const next = (await this.#readRecord())!;
      if (next[0] === contentType.changeCipherSpec) continue;
      messages = Buffer.concat([messages, this.#serverKeys.open(next).body]);
    }
    this.#transcript.push(messages);
    const master = hmac(expandLabel(handshake, "derived", sha256(), hashLength), zeros);
    const whole = this.#hash();
    this.#applicationSecrets = {
      client: expandLabel(master, "c ap traffic", whole, hashLength),
      server: expandLabel(master, "s ap traffic", whole, hashLength),
    };
    this.#serverKeys = new Keys(this.#applicationSecrets.server);
  }

  sealed(type: number, body: Uint8Array, padding = 0): Buffer {
    return this.#clientKeys!.seal(type, body, padding);
  }

  /** Sends handshake messages encrypted, in one record, and remembers them. */
  sendSealed(...messages: readonly Buffer[]): void {
    this.#transcript.push(...messages);
    this.send(this.sealed(contentType.handshake, Buffer.concat(messages)));
  }

  certificate(entries: readonly Uint8Array[], { context = Buffer.alloc(0), after = Buffer.alloc(0) } = {}): Buffer {
    const list = vector24(...entries.map((der) => Buffer.concat([vector24(der), vector16()])));
    return message(messageType.certificate, Buffer.concat([vector8(context), list, after]));
  }

  /** Signs the transcript with what `extra` messages add to it. */
  certificateVerify(identity: Identity, extra: readonly Buffer[], { algorithm = 0x0403, spoilt = false } = {}): Buffer {
    const content = Buffer.concat([
      Buffer.alloc(64, 0x20),
      Buffer.from("TLS 1.3, client CertificateVerify\0"),
      this.#hash(...extra),
    ]);
    if (spoilt) content[70]! ^= 1;
    const signature = sign("sha256", content, identity.privateKey);
    return message(messageType.certificateVerify, Buffer.concat([u16(algorithm), vector16(signature)]));
  }

  finished(extra: readonly Buffer[], { spoilt = false } = {}): Buffer {
    const key = expandLabel(this.#clientSecret, "finished", Buffer.alloc(0), hashLength);
    const verify = hmac(key, this.#hash(...extra));
    if (spoilt) verify[0]! ^= 1;
    return message(messageType.finished, verify);
  }

  /** The last flight as it should be; application keys from here on. */
  finish(identity: Identity): void {
    const certificate = this.certificate(identity.chain);
    const verify = this.certificateVerify(identity, [certificate]);
    const finished = this.finished([certificate, verify]);
    this.sendSealed(certificate, verify, finished);
    this.useApplicationKeys();
  }

  useApplicationKeys(): void {
    this.#clientKeys = new Keys(this.#applicationSecrets!.client);
  }

  /** A KeyUpdate; what is sealed from here on is under the next keys. */
  keyUpdate(): Buffer {
    const sealed = this.sealed(contentType.handshake, message(messageType.keyUpdate, u8(0)));
    this.nextKeys();
    return sealed;
  }

  nextKeys(): void {
    const secrets = this.#applicationSecrets!;
    secrets.client = expandLabel(secrets.client, "traffic upd", Buffer.alloc(0), hashLength);
    this.useApplicationKeys();
  }

  /** So many bytes of what the server sends. */
  async receive(length: number): Promise<Buffer> {
    let bytes = Buffer.alloc(0);
    while (bytes.length < length) {
      const next = await this.#readRecord();
      if (next === undefined) throw new Error(`the server ended after ${bytes.length} bytes`);
      const { type, body } = this.#serverKeys!.open(next);
      if (type === contentType.applicationData) bytes = Buffer.concat([bytes, body]);
    }
    return bytes;
  }

  /** The alert that the server sent before the connection ended; undefined: none. */
  async alert(): Promise<number | undefined> {
    for (let next = await this.#readRecord(); next !== undefined; next = await this.#readRecord()) {
      if (next[0] === contentType.alert) return next[6];
      if (next[0] !== contentType.applicationData || this.#serverKeys === undefined) continue;
      const { type, body } = this.#serverKeys.open(next);
      if (type === contentType.alert) return body[1];
    }
    return undefined;
  }

  #hash(...extra: readonly Buffer[]): Buffer {
    return sha256(...this.#transcript, ...extra);
  }

  async #readRecord(): Promise<Buffer | undefined> {
    for (;;) {
      const length = this.#input.length < 5 ? 0 : 5 + this.#input.readUInt16BE(3);
      if (length > 0 && this.#input.length >= length) {
        const next = this.#input.subarray(0, length);
        this.#input = this.#input.subarray(length);
        return next;
      }
      if (this.#isEnded) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function x25519(raw: Buffer): KeyObject {
  const spki = Buffer.concat([Buffer.from("302a300506032b656e032100", "hex"), raw]);
  return createPublicKey({ key: spki, format: "der", type: "spki" });
}

/** The server's X25519 share: its key_share extension is the only one with these first bytes. */
function shareOf(serverHello: Buffer): Buffer {
  const at = serverHello.indexOf(Buffer.from([0, 51, 0, 36, 0, 29, 0, 32]));
  if (at < 0) throw new Error("the ServerHello has no X25519 share");
  return serverHello.subarray(at + 8, at + 40);
}

function endsWithFinished(messages: Buffer): boolean {
  for (let at = 0; at + 4 <= messages.length; ) {
    const end = at + 4 + messages.readUIntBE(at + 1, 3);
    if (messages[at] === messageType.finished && end === messages.length) return true;
    at = end;
  }
  return false;
}
