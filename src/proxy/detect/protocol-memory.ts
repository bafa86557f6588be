// What destinations were found to speak, to shorten the waiting of connections whose own bytes do not say yet. It never
// overrules bytes, never relaxes policy and never allows the direct path: only what is declared does.
//
// Known after three connections that agree, for ten minutes after the last one that did, and until one disagrees.
// Of fixed size: each destination has one slot (by hash), and whoever comes later takes it. Pure: time is the caller's.

import { hashSocketAddress } from "../../mesh/address-table.ts";
import type { SeenProtocol } from "./client-opening.ts";

export interface Destination {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  readonly port: number;
}

const neededAgreements = 3;
const validMs = 10 * 60_000;
/** A power of two; 120 kB in all. */
const slots = 4096;
const wordsPerSlot = 5;

const words: readonly SeenProtocol[] = ["http", "http2", "tls", "opaque"];

export class ProtocolMemory {
  readonly #keys: Int32Array;
  /** Index into `words`. */
  readonly #protocols: Uint8Array;
  /** Connections that agreed, at most as many as are needed; 0: the slot is free. */
  readonly #agreements: Uint8Array;
  /** When the last one did. */
  readonly #agreedMs: Float64Array;

  constructor() {
    this.#keys = new Int32Array(slots * wordsPerSlot);
    this.#protocols = new Uint8Array(slots);
    this.#agreements = new Uint8Array(slots);
    this.#agreedMs = new Float64Array(slots);
  }

  /** Undefined: not known. */
  recall(destination: Destination, nowMs: number): SeenProtocol | undefined {
    const slot = slotOf(destination);
    if (this.#agreements[slot]! < neededAgreements || !this.#isAbout(slot, destination, nowMs)) return undefined;
    return words[this.#protocols[slot]!];
  }

  /** A connection to it spoke that. */
  confirm(destination: Destination, protocol: SeenProtocol, nowMs: number): void {
    const slot = slotOf(destination);
    const word = words.indexOf(protocol);
    if (this.#isAbout(slot, destination, nowMs) && this.#protocols[slot] === word) {
      this.#agreements[slot] = Math.min(this.#agreements[slot]! + 1, neededAgreements);
    } else {
      const at = slot * wordsPerSlot;
      this.#keys[at] = destination.w0;
      this.#keys[at + 1] = destination.w1;
      this.#keys[at + 2] = destination.w2;
      this.#keys[at + 3] = destination.w3;
      this.#keys[at + 4] = destination.port;
      this.#protocols[slot] = word;
      this.#agreements[slot] = 1;
    }
    this.#agreedMs[slot] = nowMs;
  }

  /** Its server spoke something opaque: what was learned is not true, unless it was that. */
  contradict(destination: Destination, nowMs: number): void {
    const slot = slotOf(destination);
    if (this.#isAbout(slot, destination, nowMs) && words[this.#protocols[slot]!] !== "opaque")
      this.#agreements[slot] = 0;
  }

  #isAbout(slot: number, { w0, w1, w2, w3, port }: Destination, nowMs: number): boolean {
    const keys = this.#keys;
    const at = slot * wordsPerSlot;
    return (
      this.#agreements[slot]! > 0 &&
      nowMs - this.#agreedMs[slot]! < validMs &&
      keys[at + 3] === (w3 | 0) &&
      keys[at + 4] === port &&
      keys[at + 2] === (w2 | 0) &&
      keys[at + 1] === (w1 | 0) &&
      keys[at] === (w0 | 0)
    );
  }
}

function slotOf({ w0, w1, w2, w3, port }: Destination): number {
  return hashSocketAddress(w0 | 0, w1 | 0, w2 | 0, w3 | 0, port) & (slots - 1);
}
