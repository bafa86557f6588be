// IP addresses as Culvert knows them everywhere: four 32-bit words of an IPv6 address, most significant first, where an
// IPv4 address is its v4-mapped form ::ffff:a.b.c.d. So one table, one key layout and one comparison serve both families,
// and `::ffff:10.0.0.1` *is* 10.0.0.1. An IpAddress is plain data: it survives postMessage.
// Parsing is strict (no leading zeros, no zone, no octal) and returns undefined rather than throw.

export type IpFamily = 4 | 6;
/** Each word an unsigned 32-bit integer. */
export type AddressWords = readonly [number, number, number, number];
export interface IpAddress {
  readonly family: IpFamily;
  readonly words: AddressWords;
}
/** `prefixLength` counts in the address's own family: 0–32 for IPv4. */
export interface Cidr {
  readonly address: IpAddress;
  readonly prefixLength: number;
}

const v4MappedWord = 0xffff;

export function addressFromWords(w0: number, w1: number, w2: number, w3: number): IpAddress {
  return { family: familyOf(w0, w1, w2), words: [w0 >>> 0, w1 >>> 0, w2 >>> 0, w3 >>> 0] };
}

/** The family that the first three words tell; nothing is allocated. */
export function familyOf(w0: number, w1: number, w2: number): IpFamily {
  return w0 === 0 && w1 === 0 && w2 === v4MappedWord ? 4 : 6;
}

export function sameAddress(a: IpAddress, b: IpAddress): boolean {
  return a.words.every((word, i) => word === b.words[i]);
}

/** Reads 16 bytes in network order. */
export function addressFromBytes(bytes: Uint8Array, offset = 0): IpAddress {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 16);
  return addressFromWords(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12));
}

/** Writes 16 bytes in network order: the `be32 addr[4]` of BPF structs. */
export function writeAddress(address: IpAddress, into: Uint8Array, offset = 0): void {
  const view = new DataView(into.buffer, into.byteOffset + offset, 16);
  address.words.forEach((word, i) => {
    view.setUint32(i * 4, word);
  });
}

export function parseAddress(text: string): IpAddress | undefined {
  if (!text.includes(":")) {
    const word = parseIpv4Word(text);
    return word === undefined ? undefined : addressFromWords(0, 0, v4MappedWord, word);
  }
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  // "::" stands for at least one group (RFC 4291 §2.2).
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const word = (i: number) => (groups[i * 2]! << 16) | groups[i * 2 + 1]!;
  return addressFromWords(word(0) >>> 0, word(1) >>> 0, word(2) >>> 0, word(3) >>> 0);
}

/** 16-bit groups between colons; the last may be a dotted IPv4 address where it ends the text. */
function parseGroups(text: string, endsAddress: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const word = endsAddress && i === parts.length - 1 ? parseIpv4Word(part) : undefined;
    if (word === undefined) return undefined;
    groups.push(word >>> 16, word & 0xffff);
  }
  return groups;
}

function parseIpv4Word(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let word = 0;
  for (const part of parts) {
    // A leading zero is octal to some parsers and decimal to others, so it is neither here.
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    word = word * 256 + Number(part);
  }
  return word;
}

/** RFC 5952: lower case, the longest run of zero groups (the first of equals) shortened, never a single one. */
export function formatAddress(address: IpAddress): string {
  const { family, words } = address;
  if (family === 4) return [24, 16, 8, 0].map((shift) => (words[3] >>> shift) & 0xff).join(".");
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/** `10.1.0.2:80` or `[fd00::1]:80`. */
export function formatSocketAddress(address: IpAddress, port: number): string {
  return address.family === 4 ? `${formatAddress(address)}:${port}` : `[${formatAddress(address)}]:${port}`;
}

/** Why an address cannot be a pod's or a service's, or undefined when it can. */
export function unroutableKind(address: IpAddress): string | undefined {
  const [w0, w1, w2, w3] = address.words;
  if (address.family === 4) {
    if (w3 >>> 24 === 0) return "unspecified";
    if (w3 >>> 24 === 127) return "loopback";
    if (w3 >>> 28 === 0xe) return "multicast";
    return w3 === 0xffffffff ? "broadcast" : undefined;
  }
  if (w0 === 0 && w1 === 0 && w2 === 0 && w3 <= 1) return w3 === 0 ? "unspecified" : "loopback";
  if (w0 >>> 24 === 0xff) return "multicast";
  return w0 >>> 22 === 0xfe80 >>> 6 ? "link-local" : undefined;
}

/** Accepts host bits: see `networkAddress`. A bare address is its own network. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const width = address.family === 4 ? 32 : 128;
  if (slash < 0) return { address, prefixLength: width };
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(digits) || Number(digits) > width) return undefined;
  return { address, prefixLength: Number(digits) };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.address)}/${cidr.prefixLength}`;
}

/** The prefix's length over the 128 bits of the words: what an LPM trie over both families wants. */
export function mappedPrefixLength(cidr: Cidr): number {
  return cidr.address.family === 4 ? 96 + cidr.prefixLength : cidr.prefixLength;
}

/** The address with the host bits cleared. */
export function networkAddress(cidr: Cidr): IpAddress {
  const bits = mappedPrefixLength(cidr);
  const [w0, w1, w2, w3] = cidr.address.words;
  // The family is the prefix's: ::ffff:0:0/64 is an IPv6 network although its bits may read as v4-mapped.
  const words = [
    (w0 & maskWord(bits, 0)) >>> 0,
    (w1 & maskWord(bits, 1)) >>> 0,
    (w2 & maskWord(bits, 2)) >>> 0,
    (w3 & maskWord(bits, 3)) >>> 0,
  ] as const;
  return { family: cidr.address.family, words };
}

export function cidrContains(cidr: Cidr, address: IpAddress): boolean {
  const bits = mappedPrefixLength(cidr);
  return address.words.every((word, i) => ((word ^ cidr.address.words[i]!) & maskWord(bits, i)) === 0);
}

function maskWord(bits: number, index: number): number {
  const own = Math.min(Math.max(bits - index * 32, 0), 32);
  return own === 0 ? 0 : -1 << (32 - own);
}
