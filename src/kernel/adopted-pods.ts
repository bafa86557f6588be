// The pods that a process which ended before this one left in the maps. They stay in force, sealed: until a pod is enrolled
// again nothing of it is captured, whoever listens there by then, and it passes or, if it is strict, fails. What nobody
// enrolls again is taken away in the end.

import { addressFromBytes, formatAddress, type IpAddress } from "../mesh/address.ts";
import type { NetnsCookie } from "../runtime/native.ts";
import type { KernelMaps } from "./kernel-objects.ts";
import { decodeCookie, decodeU32, encodeAddress, encodeU32, encodeU64, layout } from "./layout.ts";

interface AdoptedPod {
  readonly id: number;
  readonly isStrict: boolean;
}

export class AdoptedPods {
  readonly #maps: KernelMaps;
  /** Those that nobody has enrolled again yet. */
  readonly #pods: Map<NetnsCookie, AdoptedPod>;
  /** Keys of pod_by_address by pod_id, as they were at the start. */
  readonly #addresses: Map<number, Uint8Array[]>;

  constructor(maps: KernelMaps) {
    this.#maps = maps;
    this.#pods = new Map();
    this.#addresses = new Map();
    for (const key of maps.pods.keys()) {
      const value = maps.pods.lookup(key);
      if (value === undefined) continue;
      const flags = decodeU32(value.subarray(4));
      const isStrict = (flags & (layout.POD_STRICT_OUTBOUND | layout.POD_STRICT_INBOUND)) !== 0;
      this.#pods.set(decodeCookie(key), { id: decodeU32(value), isStrict });
      maps.pods.update(key, sealed(value));
    }
    for (const key of maps.pod_by_address.keys()) {
      const value = maps.pod_by_address.lookup(key);
      if (value === undefined) continue;
      maps.pod_by_address.update(key, sealed(value));
      const id = decodeU32(value);
      this.#addresses.set(id, [...(this.#addresses.get(id) ?? []), key]);
    }
  }

  get size(): number {
    return this.#pods.size;
  }

  get hasStrict(): boolean {
    return [...this.#pods.values()].some(({ isStrict }) => isStrict);
  }

  get cookies(): NetnsCookie[] {
    return [...this.#pods.keys()];
  }

  /** That nobody else may have. */
  get ids(): number[] {
    return [...this.#pods.values()].map(({ id }) => id);
  }

  idOf(cookie: NetnsCookie): number | undefined {
    return this.#pods.get(cookie)?.id;
  }

  /** A strict pod that this process leaves in force. */
  add(cookie: NetnsCookie, id: number, addresses: readonly IpAddress[]): void {
    this.#pods.set(cookie, { id, isStrict: true });
    this.#addresses.set(id, addresses.map(encodeAddress));
  }

  /** It is enrolled again: its id is its own from now on, and addresses that it no longer has are forgotten. */
  claim(cookie: NetnsCookie, addresses: readonly IpAddress[]): void {
    const pod = this.#pods.get(cookie);
    if (pod === undefined) return;
    this.#pods.delete(cookie);
    this.#forgetAddresses(pod.id, new Set(addresses.map(formatAddress)));
  }

  /** Takes away the rest, in the order of a withdrawal; strict ones stay if so wanted. */
  withdraw(keepsStrict: boolean, detach: (cookie: NetnsCookie) => void): void {
    for (const [cookie, { id, isStrict }] of this.#pods) {
      if (isStrict && keepsStrict) continue;
      this.#pods.delete(cookie);
      this.#maps.pods.delete(encodeU64(cookie));
      detach(cookie);
      this.#forgetAddresses(id, new Set());
      this.#maps.opt_outs.delete(encodeU32(id));
    }
  }

  #forgetAddresses(id: number, but: ReadonlySet<string>): void {
    for (const key of this.#addresses.get(id) ?? []) {
      const owner = this.#maps.pod_by_address.lookup(key);
      const isStillIts = owner !== undefined && decodeU32(owner) === id;
      if (isStillIts && !but.has(formatAddress(addressFromBytes(key)))) this.#maps.pod_by_address.delete(key);
    }
    this.#addresses.delete(id);
  }
}

/** Both structures begin with the id and the flags. */
function sealed(value: Uint8Array): Uint8Array {
  const copy = value.slice();
  copy[4]! |= layout.POD_SEALED;
  return copy;
}
