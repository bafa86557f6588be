// What the programs know of single pods: entries of the maps by a pod's id, its namespace's cookie and its addresses. Each
// is replaced as a whole, so nothing passes between an old one and a new one.

import type { IpAddress } from "../mesh/address.ts";
import type { NetnsCookie } from "../runtime/native.ts";
import type { KernelMaps } from "./kernel-objects.ts";
import {
  decodeU32,
  encodeAddress,
  encodeOptOuts,
  encodePod,
  encodePodAddress,
  encodeU32,
  encodeU64,
  layout,
} from "./layout.ts";
import type { NodeRules } from "./node-rules.ts";
import type { PodRules } from "./pod.ts";
import type { PodListener } from "./pod-listeners.ts";

export class PodEntries {
  readonly #maps: KernelMaps;
  readonly #nodeRules: NodeRules;

  constructor(maps: KernelMaps, nodeRules: NodeRules) {
    this.#maps = maps;
    this.#nodeRules = nodeRules;
  }

  setListeners(id: number, listeners: readonly PodListener[]): void {
    for (const { slot, fd } of listeners) this.#maps.listeners.update(listenerKey(id, slot), encodeU64(BigInt(fd)));
  }

  /** What is asked once a connection is known to be the pod's. */
  setOptions(id: number, { optOuts, probePorts }: PodRules): void {
    if (optOuts.length > 0) this.#maps.opt_outs.update(encodeU32(id), encodeOptOuts(optOuts));
    else this.#maps.opt_outs.delete(encodeU32(id));
    this.#nodeRules.setProbePorts(id, probePorts);
  }

  /** Undefined: nobody's. */
  ownerOf(address: IpAddress): number | undefined {
    const owner = this.#maps.pod_by_address.lookup(encodeAddress(address));
    return owner && decodeU32(owner);
  }

  /** From now on what arrives at them is the pod's. */
  setAddresses(id: number, { addresses, flags }: PodRules): void {
    const value = encodePodAddress(id, flags);
    for (const address of addresses) this.#maps.pod_by_address.update(encodeAddress(address), value);
  }

  removeAddresses(id: number, addresses: readonly IpAddress[]): void {
    for (const address of addresses) {
      if (this.ownerOf(address) === id) this.#maps.pod_by_address.delete(encodeAddress(address));
    }
  }

  /** From now on what is dialled in that namespace is the pod's. */
  setNamespace(cookie: NetnsCookie, id: number, { addresses, flags }: PodRules): void {
    const [ip4, ip6] = ([4, 6] as const).map((family) => addresses.find((address) => address.family === family));
    this.#maps.pods.update(encodeU64(cookie), encodePod(id, flags, ip4, ip6));
  }

  removeNamespace(cookie: NetnsCookie): void {
    this.#maps.pods.delete(encodeU64(cookie));
  }

  /** Listeners and options: what goes by the id alone, which may be another's from now on. */
  removeId(id: number): void {
    for (const slot of [layout.LISTENER_INBOUND4, layout.LISTENER_INBOUND6, layout.LISTENER_OUTBOUND]) {
      this.#maps.listeners.delete(listenerKey(id, slot));
    }
    this.#maps.opt_outs.delete(encodeU32(id));
    this.#nodeRules.setProbePorts(id, []);
  }
}

function listenerKey(id: number, slot: number): Uint8Array {
  return encodeU32(id * layout.LISTENERS_PER_POD + slot);
}
