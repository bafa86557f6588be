// Just enough DER to make certificates as a test wants them, wrong ones included: openssl's command line cannot make one
// that is not valid yet.

export type Der = Buffer;

export function tagged(tag: number, ...parts: readonly Uint8Array[]): Der {
  const body = Buffer.concat(parts);
  const { length } = body;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : length < 0x10000
          ? [tag, 0x82, length >> 8, length & 0xff]
          : [tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from(head), body]);
}

export const sequence = (...parts: readonly Uint8Array[]): Der => tagged(0x30, ...parts);
export const set = (...parts: readonly Uint8Array[]): Der => tagged(0x31, ...parts);
export const explicit = (tag: number, ...parts: readonly Uint8Array[]): Der => tagged(0xa0 | tag, ...parts);
export const integer = (bytes: Uint8Array): Der => tagged(0x02, bytes);
export const octets = (...parts: readonly Uint8Array[]): Der => tagged(0x04, ...parts);
export const bits = (bytes: Uint8Array, unused = 0): Der => tagged(0x03, Buffer.from([unused]), bytes);
export const utf8 = (text: string): Der => tagged(0x0c, Buffer.from(text));
export const boolean = (value: boolean): Der => tagged(0x01, Buffer.from([value ? 0xff : 0]));

export function oid(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift(0x80 | (left & 0x7f));
    bytes.push(...digits);
  }
  return tagged(0x06, Buffer.from(bytes));
}

export function time(date: Date): Der {
  const text = `${date
    .toISOString()
    .replace(/[-:T]|\.\d+/g, "")
    .slice(0, 14)}Z`;
  return date.getUTCFullYear() < 2050 ? tagged(0x17, Buffer.from(text.slice(2))) : tagged(0x18, Buffer.from(text));
}
