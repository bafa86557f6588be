// The pods that a process which ended before this one left in the maps. They stay in force, sealed: until a pod is enrolled
// again nothing of it is captured, whoever listens there by then, and it passes or, if it is strict, fails. What nobody
// enrolls again is taken away in the end.

import { addressFromBytes, type IpAddress, sameAddress } from "../mesh/address.ts";
import type { NetnsCookie } from "../runtime/native.ts";
import type { KernelMaps } from "./kernel-objects.ts";
import { decodeCookie, decodeU32, layout } from "./layout.ts";
import { isStrict } from "./pod.ts";
import type { PodEntries } from "./pod-entries.ts";

interface AdoptedPod {
  readonly id: number;
  readonly isStrict: boolean;
}

export class AdoptedPods {
  readonly #entries: PodEntries;
  /** Those that nobody has enrolled again yet. */
  readonly #pods: Map<NetnsCookie, AdoptedPod>;
  /** By pod_id, as they were at the start; also of a pod of which the process before had written no more when it ended. */
  readonly #addresses: Map<number, IpAddress[]>;

  constructor(maps: KernelMaps, entries: PodEntries) {
    this.#entries = entries;
    this.#pods = new Map();
    this.#addresses = new Map();
    for (const key of maps.pods.keys()) {
      const value = maps.pods.lookup(key);
      if (value === undefined) continue;
      this.#pods.set(decodeCookie(key), { id: decodeU32(value), isStrict: isStrict(decodeU32(value.subarray(4))) });
      maps.pods.update(key, sealedValue(value));
    }
    for (const key of maps.pod_by_address.keys()) {
      const value = maps.pod_by_address.lookup(key);
      if (value === undefined) continue;
      maps.pod_by_address.update(key, sealedValue(value));
      const id = decodeU32(value);
      this.#addresses.set(id, [...(this.#addresses.get(id) ?? []), addressFromBytes(key)]);
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
    return [...new Set([...[...this.#pods.values()].map(({ id }) => id), ...this.#addresses.keys()])];
  }

  idOf(cookie: NetnsCookie): number | undefined {
    return this.#pods.get(cookie)?.id;
  }

  /** A strict pod that this process leaves in force. */
  add(cookie: NetnsCookie, id: number, addresses: readonly IpAddress[]): void {
    this.#pods.set(cookie, { id, isStrict: true });
    this.#addresses.set(id, [...addresses]);
  }

  /** It is enrolled again: its id is its own from now on, and addresses that it no longer has are forgotten. */
  claim(cookie: NetnsCookie, addresses: readonly IpAddress[]): void {
    const pod = this.#pods.get(cookie);
    if (pod === undefined) return;
    this.#pods.delete(cookie);
    this.#removeAddresses(pod.id, addresses);
  }

  /** Takes away the rest, in the order of a withdrawal; strict ones stay if so wanted. */
  withdraw(keepsStrict: boolean, detach: (cookie: NetnsCookie) => void): void {
    for (const [cookie, { id, isStrict }] of this.#pods) {
      if (isStrict && keepsStrict) continue;
      this.#pods.delete(cookie);
      this.#entries.removeNamespace(cookie);
      detach(cookie);
      this.#forget(id);
    }
    const kept = new Set([...this.#pods.values()].map(({ id }) => id));
    for (const id of [...this.#addresses.keys()].filter((it) => !kept.has(it))) this.#forget(id);
  }

  #forget(id: number): void {
    this.#removeAddresses(id, []);
    this.#entries.removeId(id);
  }

  #removeAddresses(id: number, but: readonly IpAddress[]): void {
    const all = this.#addresses.get(id) ?? [];
    const stale = all.filter((address) => !but.some((it) => sameAddress(it, address)));
    this.#entries.removeAddresses(id, stale);
    this.#addresses.delete(id);
  }
}

/** Both structures begin with the id and the flags. */
function sealedValue(value: Uint8Array): Uint8Array {
  const copy = value.slice();
  copy[4]! |= layout.POD_SEALED;
  return copy;
}
