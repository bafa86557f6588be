// What a client's bytes say, written for clearness: all bytes at once, in another way than src/proxy/detect does it.

export interface Verdict {
  readonly verdict: "http" | "http2" | "tls" | "opaque" | undefined;
  readonly name: string | undefined;
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const requestLine = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} [!-~\u0080-\u00ff]{1,65536} HTTP\/1\./;
/** What a request line may begin with: its version is cut off last. */
const beginnings = [
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{0,32}$/,
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} [!-~\u0080-\u00ff]{0,65536}$/,
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} [!-~\u0080-\u00ff]{1,65536} (|H|HT|HTT|HTTP|HTTP\/|HTTP\/1)$/,
];

export function referenceVerdict(bytes: Buffer): Verdict {
  if (bytes[0] === 0x16) return tlsVerdict(bytes);
  const text = bytes.toString("latin1");
  const plain = (verdict: Verdict["verdict"]) => ({ verdict, name: undefined });
  if (text.startsWith(preface)) return plain("http2");
  if (requestLine.test(text)) return plain("http");
  if (preface.startsWith(text) || beginnings.some((beginning) => beginning.test(text))) return plain(undefined);
  return plain("opaque");
}

class Incomplete extends Error {}
class Malformed extends Error {}

/** Reads what is there; Incomplete where bytes are missing that may still come, Malformed where they cannot. */
class Reader {
  readonly #bytes: Buffer;
  readonly #end: number;
  at: number;

  /** `end`: of what encloses it, which may lie beyond what has come. */
  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.at === this.#end;
  }

  get left(): number {
    return this.#end - this.at;
  }

  number(width: number): number {
    return this.take(width).readUIntBE(0, width);
  }

  take(bytes: number): Buffer {
    if (bytes > this.left) throw new Malformed();
    if (this.at + bytes > this.#bytes.length) throw new Incomplete();
    this.at += bytes;
    return this.#bytes.subarray(this.at - bytes, this.at);
  }
}

function must(condition: boolean): void {
  if (!condition) throw new Malformed();
}

function tlsVerdict(bytes: Buffer): Verdict {
  const { message, isBroken } = messageOf(bytes);
  try {
    return { verdict: "tls", name: nameIn(message) };
  } catch (error) {
    const isOpaque = error instanceof Malformed || isBroken;
    return { verdict: isOpaque ? "opaque" : undefined, name: undefined };
  }
}

/** The fragments of all records; `isBroken`: what follows them is no record of a handshake. */
function messageOf(bytes: Buffer): { message: Buffer; isBroken: boolean } {
  const fragments: Buffer[] = [];
  let at = 0;
  const end = (isBroken: boolean) => ({ message: Buffer.concat(fragments), isBroken });
  while (at < bytes.length) {
    const [type, major, minor] = bytes.subarray(at);
    if (type !== 22 || (major ?? 3) !== 3 || (minor ?? 0) > 4) return end(true);
    if (at + 5 > bytes.length) return end(false);
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > 16_384) return end(true);
    fragments.push(bytes.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return end(false);
}

function nameIn(message: Buffer): string | undefined {
  const head = new Reader(message, 0, 4).number(4);
  must(head >>> 24 === 1);
  const reader = new Reader(message, 4, 4 + (head & 0xffffff));
  must(reader.number(2) >>> 8 === 3);
  reader.take(32);
  const session = reader.number(1);
  must(session <= 32);
  reader.take(session);
  const suites = reader.number(2);
  must(suites > 0 && suites % 2 === 0);
  reader.take(suites);
  const compressions = reader.number(1);
  must(compressions > 0);
  reader.take(compressions);
  if (reader.isAtEnd) return undefined;
  must(reader.number(2) === reader.left);
  while (!reader.isAtEnd) {
    const head = reader.number(4);
    const [type, length] = [head >>> 16, head & 0xffff];
    if (type !== 0 || length < 5) {
      reader.take(length);
      continue;
    }
    must(length <= reader.left);
    const listBytes = reader.number(2);
    const nameType = reader.number(1);
    const nameBytes = reader.number(2);
    must(listBytes === length - 2 && nameBytes <= length - 5);
    if (nameType !== 0 || nameBytes === 0 || nameBytes > 253) return undefined;
    const name = reader.take(nameBytes).toString("latin1");
    return /^[A-Za-z0-9_.-]+$/.test(name) ? name : undefined;
  }
  return undefined;
}
