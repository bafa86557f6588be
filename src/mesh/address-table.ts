// Hot: one lookup per connection; no string, closure or allocation; measured by bench/micro/address-table.ts.
//
// A hash table from (address, port) to V: open addressing, linear probing, never more than half full, so a lookup
// reads about 1.5 slots and a miss about 2.5. A removal closes the gap behind it, so there are no tombstones.
//
//   keys    | w0 w1 w2 w3 port | w0 w1 w2 w3 port | …    Int32Array, 5 words per slot
//   values  |        V         |     undefined    | …    undefined marks a free slot

import type { IpAddress } from "./address.ts";

const wordsPerSlot = 5;

export class AddressTable<V extends object> {
  size: number;
  #mask: number;
  #keys: Int32Array;
  #values: (V | undefined)[];

  constructor(expectedSize = 8) {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(expectedSize, 4) * 2));
    this.size = 0;
    this.#mask = capacity - 1;
    this.#keys = new Int32Array(capacity * wordsPerSlot);
    this.#values = new Array<V | undefined>(capacity).fill(undefined);
  }

  /** Words may be signed or unsigned: 0xffffffff and -1 are the same word. */
  get(w0: number, w1: number, w2: number, w3: number, port: number): V | undefined {
    return this.#values[this.#slot(w0 | 0, w1 | 0, w2 | 0, w3 | 0, port)];
  }

  set(address: IpAddress, port: number, value: V): void {
    if ((this.size + 1) * 2 > this.#values.length) this.#grow();
    const words = address.words;
    this.#put(words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0, port, value);
  }

  delete(address: IpAddress, port: number): void {
    const words = address.words;
    let gap = this.#slot(words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0, port);
    if (this.#values[gap] === undefined) return;
    this.size--;
    const keys = this.#keys;
    for (let slot = (gap + 1) & this.#mask; this.#values[slot] !== undefined; slot = (slot + 1) & this.#mask) {
      const key = slot * wordsPerSlot;
      const home =
        hashSocketAddress(keys[key]!, keys[key + 1]!, keys[key + 2]!, keys[key + 3]!, keys[key + 4]!) & this.#mask;
      // What lies between its home and the gap would no longer be found.
      if (((slot - home) & this.#mask) < ((slot - gap) & this.#mask)) continue;
      keys.copyWithin(gap * wordsPerSlot, key, key + wordsPerSlot);
      this.#values[gap] = this.#values[slot];
      gap = slot;
    }
    this.#values[gap] = undefined;
  }

  #put(w0: number, w1: number, w2: number, w3: number, port: number, value: V): void {
    const slot = this.#slot(w0, w1, w2, w3, port);
    if (this.#values[slot] === undefined) this.size++;
    this.#values[slot] = value;
    const key = slot * wordsPerSlot;
    this.#keys[key] = w0;
    this.#keys[key + 1] = w1;
    this.#keys[key + 2] = w2;
    this.#keys[key + 3] = w3;
    this.#keys[key + 4] = port;
  }

  /** The slot that holds the key, or the free one where it would go. Ends because half the slots are free. */
  #slot(w0: number, w1: number, w2: number, w3: number, port: number): number {
    const keys = this.#keys;
    const values = this.#values;
    let slot = hashSocketAddress(w0, w1, w2, w3, port) & this.#mask;
    while (values[slot] !== undefined) {
      const key = slot * wordsPerSlot;
      // The last word differs most often, so it is compared first.
      if (
        keys[key + 3] === w3 &&
        keys[key + 4] === port &&
        keys[key + 2] === w2 &&
        keys[key + 1] === w1 &&
        keys[key] === w0
      ) {
        break;
      }
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    this.size = 0;
    this.#mask = values.length * 2 - 1;
    this.#keys = new Int32Array(keys.length * 2);
    this.#values = new Array<V | undefined>(values.length * 2).fill(undefined);
    for (let slot = 0; slot < values.length; slot++) {
      const value = values[slot];
      const k = slot * wordsPerSlot;
      if (value !== undefined) this.#put(keys[k]!, keys[k + 1]!, keys[k + 2]!, keys[k + 3]!, keys[k + 4]!, value);
    }
  }
}

/** Multiply and rotate per word, then murmur3's finaliser: pod addresses differ in their low bits only. */
export function hashSocketAddress(w0: number, w1: number, w2: number, w3: number, port: number): number {
  let h = Math.imul(w3 ^ Math.imul(port, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul((h ^ w2 ^ (h >>> 15)) | 0, 0xc2b2ae35);
  h = Math.imul((h ^ w1 ^ (h >>> 13)) | 0, 0x85ebca6b);
  h = Math.imul((h ^ w0 ^ (h >>> 16)) | 0, 0xc2b2ae35);
  return h ^ (h >>> 15);
}
