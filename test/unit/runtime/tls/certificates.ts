// Certificate authorities and leaves made on the spot, right or wrong in one way.

import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { bits, boolean, explicit, integer, octets, oid, sequence, set, tagged, time, utf8 } from "./der.ts";

const ecdsaWithSha256 = sequence(oid("1.2.840.10045.4.3.2"));
const usages = { serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2", codeSigning: "1.3.6.1.5.5.7.3.3" };
const dayMs = 86_400_000;

export interface CertificateOptions {
  /** URI SAN. */
  readonly uri?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly usages?: readonly (keyof typeof usages)[];
  readonly isAuthority?: boolean;
  /** Bytes of an extension nobody knows: makes the certificate large. */
  readonly padding?: number;
}

export interface Identity {
  /** The certificate, then what leads to the root; the root itself is not part of it. */
  readonly chain: readonly Buffer[];
  /** PKCS #8; a new copy for whoever takes it, because setTlsContext wipes what it gets. */
  readonly key: Buffer;
  readonly privateKey: KeyObject;
}

export class Authority {
  readonly name: string;
  readonly root: Buffer;
  readonly #privateKey: KeyObject;
  readonly #chain: readonly Buffer[];

  constructor(name: string, issuer?: Authority, options: CertificateOptions = {}) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.name = name;
    this.#privateKey = privateKey;
    this.root = certificate(
      name,
      publicKey,
      issuer?.name ?? name,
      issuer === undefined ? privateKey : issuer.#privateKey,
      {
        isAuthority: true,
        ...options,
      },
    );
    this.#chain = issuer === undefined ? [] : [this.root, ...issuer.#chain];
  }

  issue(options: CertificateOptions = {}): Identity {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const leaf = certificate("", publicKey, this.name, this.#privateKey, {
      uri: "spiffe://mesh.test/ns/default/sa/web",
      usages: ["serverAuth", "clientAuth"],
      ...options,
    });
    return {
      chain: [leaf, ...this.#chain],
      get key() {
        return privateKey.export({ format: "der", type: "pkcs8" });
      },
      privateKey,
    };
  }
}

function certificate(
  subject: string,
  publicKey: KeyObject,
  issuer: string,
  signer: KeyObject,
  options: CertificateOptions,
): Buffer {
  const now = Date.now();
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    nameOf(issuer),
    sequence(time(options.notBefore ?? new Date(now - dayMs)), time(options.notAfter ?? new Date(now + dayMs))),
    nameOf(subject),
    publicKey.export({ format: "der", type: "spki" }),
    explicit(3, sequence(...extensions(options))),
  );
  return sequence(body, ecdsaWithSha256, bits(sign("sha256", body, signer)));
}

function nameOf(commonName: string): Buffer {
  return commonName === "" ? sequence() : sequence(set(sequence(oid("2.5.4.3"), utf8(commonName))));
}

function extensions(options: CertificateOptions): Buffer[] {
  const all = [
    extension("2.5.29.19", true, sequence(...(options.isAuthority === true ? [boolean(true)] : []))),
    // keyCertSign, or digitalSignature
    extension(
      "2.5.29.15",
      true,
      options.isAuthority === true ? bits(Buffer.from([0x04]), 2) : bits(Buffer.from([0x80]), 7),
    ),
  ];
  if (options.usages !== undefined) {
    all.push(extension("2.5.29.37", false, sequence(...options.usages.map((usage) => oid(usages[usage])))));
  }
  if (options.uri !== undefined) {
    all.push(extension("2.5.29.17", true, sequence(tagged(0x86, Buffer.from(options.uri)))));
  }
  if (options.padding !== undefined)
    all.push(extension("1.3.6.1.4.1.99999.1", false, octets(randomBytes(options.padding))));
  return all;
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octets(value));
}

export function pemOf(label: "CERTIFICATE" | "PRIVATE KEY", der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString("base64")
    .match(/.{1,64}/g)!;
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

export function chainPem(identity: Identity): string {
  return identity.chain.map((der) => pemOf("CERTIFICATE", der)).join("");
}

export function keyPem(identity: Identity): string {
  return createPrivateKey({ key: identity.key, format: "der", type: "pkcs8" }).export({
    format: "pem",
    type: "pkcs8",
  }) as string;
}
