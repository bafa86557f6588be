// Hot: runs per connection that begins with a TLS record; measured by bench/micro/detect.ts.
//
// Is this TLS, and for which name (SNI)? It is when a ClientHello (RFC 8446 §4.1.2) has been followed to its server_name
// extension, or to its end when it has none. Every length is checked against what encloses it, so that nothing else
// passes for one. Nothing is kept but the name, and the message may come in any number of records and segments:
//
//   record   type 22 | version 3.x | length ≤ 2^14 | fragment …
//   message  type 1 | length 3 | version 2 | random 32 | session ≤ 32 | suites | compressions | extensions …

import { matches, mismatches, type Progress, undecided } from "./progress.ts";

export const handshakeRecord = 22;
const maxFragmentBytes = 2 ** 14;
const clientHello = 1;
const hostName = 0;
/** A host name: letters, digits, hyphens and dots (and underscores, which people use), at most 253. */
const hostPattern = /^[-.\w]+$/;
const maxNameBytes = 253;
/** List length 2, type 1, name length 2. */
const nameHeadBytes = 5;

// What is being read. Numbers are read into #value byte by byte, the name into #name; everything else is passed over.
const readsHead = 0;
const readsVersion = 1;
const readsSessionLength = 2;
const readsSuitesLength = 3;
const readsCompressionsLength = 4;
const readsExtensionsLength = 5;
const readsExtensionHead = 6;
const readsNameHead = 7;
const readsName = 8;
const skipsRandom = 9;
const skipsSession = 10;
const skipsSuites = 11;
const skipsCompressions = 12;
const skipsExtension = 13;

export class ClientHello {
  /** The host that the client asks for, known when it `matches`; undefined when it names none. */
  serverName: string | undefined;
  /** Of the record's header, bytes read and what they say of the length. */
  #headerBytes: number;
  #fragmentBytes: number;
  /** How much is left of the record, the message, the field. */
  #fragmentLeft: number;
  #messageLeft: number;
  #fieldLeft: number;
  #field: number;
  #value: number;
  #extensionBytes: number;
  #name: string;

  constructor() {
    this.serverName = undefined;
    this.#headerBytes = 0;
    this.#fragmentBytes = 0;
    this.#fragmentLeft = 0;
    this.#messageLeft = 4;
    this.#fieldLeft = 4;
    this.#field = readsHead;
    this.#value = 0;
    this.#extensionBytes = 0;
    this.#name = "";
  }

  /** The next bytes of the client. Not to be called again after anything but `undecided`. */
  feed(bytes: Uint8Array, from: number, to: number): Progress {
    for (let at = from; at < to; ) {
      const byte = bytes[at]!;
      if (this.#fragmentLeft === 0) {
        if (!this.#readHeader(byte)) return mismatches;
        at++;
        continue;
      }
      let taken = 1;
      if (this.#field < readsName) this.#value = this.#value * 256 + byte;
      else if (this.#field === readsName) this.#name += String.fromCharCode(byte);
      else taken = Math.min(to - at, this.#fragmentLeft, this.#fieldLeft);
      at += taken;
      this.#fragmentLeft -= taken;
      this.#messageLeft -= taken;
      this.#fieldLeft -= taken;
      while (this.#fieldLeft === 0) {
        const progress = this.#endField(this.#value);
        if (progress !== undecided) return progress;
      }
    }
    return undecided;
  }

  /** False when this is no record of a handshake. */
  #readHeader(byte: number): boolean {
    switch (this.#headerBytes++) {
      case 0:
        return byte === handshakeRecord;
      case 1:
        return byte === 3;
      case 2:
        return byte <= 4;
      case 3:
        this.#fragmentBytes = byte * 256;
        return true;
      default:
        this.#headerBytes = 0;
        this.#fragmentLeft = this.#fragmentBytes + byte;
        return this.#fragmentLeft > 0 && this.#fragmentLeft <= maxFragmentBytes;
    }
  }

  /** `value`: of the field that is complete, if it was a number. */
  #endField(value: number): Progress {
    switch (this.#field) {
      case readsHead:
        if (Math.floor(value / 2 ** 24) !== clientHello) return mismatches;
        this.#messageLeft = value % 2 ** 24;
        return this.#begin(readsVersion, 2);
      case readsVersion:
        return value >>> 8 === 3 ? this.#begin(skipsRandom, 32) : mismatches;
      case skipsRandom:
        return this.#begin(readsSessionLength, 1);
      case readsSessionLength:
        return value <= 32 ? this.#begin(skipsSession, value) : mismatches;
      case skipsSession:
        return this.#begin(readsSuitesLength, 2);
      case readsSuitesLength:
        return value > 0 && value % 2 === 0 ? this.#begin(skipsSuites, value) : mismatches;
      case skipsSuites:
        return this.#begin(readsCompressionsLength, 1);
      case readsCompressionsLength:
        return value > 0 ? this.#begin(skipsCompressions, value) : mismatches;
      case skipsCompressions:
        return this.#messageLeft === 0 ? matches : this.#begin(readsExtensionsLength, 2);
      case readsExtensionsLength:
        return value === this.#messageLeft ? this.#nextExtension() : mismatches;
      case readsExtensionHead:
        this.#extensionBytes = value % 2 ** 16;
        if (this.#extensionBytes > this.#messageLeft) return mismatches;
        if (value >= 2 ** 16 || this.#extensionBytes < nameHeadBytes) {
          return this.#begin(skipsExtension, this.#extensionBytes);
        }
        return this.#begin(readsNameHead, nameHeadBytes);
      case skipsExtension:
        return this.#nextExtension();
      case readsNameHead:
        return this.#readNameHead(value);
      default:
        if (hostPattern.test(this.#name)) this.serverName = this.#name;
        return matches;
    }
  }

  #nextExtension(): Progress {
    return this.#messageLeft === 0 ? matches : this.#begin(readsExtensionHead, 4);
  }

  /** list length 2 | type 1 | name length 2 */
  #readNameHead(value: number): Progress {
    const listBytes = Math.floor(value / 2 ** 24);
    const type = Math.floor(value / 2 ** 16) % 2 ** 8;
    const nameBytes = value % 2 ** 16;
    if (listBytes + 2 !== this.#extensionBytes || nameBytes + nameHeadBytes > this.#extensionBytes) return mismatches;
    if (type !== hostName || nameBytes === 0 || nameBytes > maxNameBytes) return matches;
    return this.#begin(readsName, nameBytes);
  }

  /** Fields that reach beyond the message make it none. */
  #begin(field: number, bytes: number): Progress {
    if (bytes > this.#messageLeft) return mismatches;
    this.#field = field;
    this.#fieldLeft = bytes;
    this.#value = 0;
    return undecided;
  }
}
