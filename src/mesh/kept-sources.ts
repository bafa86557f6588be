// Hot: runs per connection; nothing is allocated.
//
// Whose address an application is shown: that of clients whose source ports are chosen by their own kernels, so by a range
// that is known. Those are the pods: workloads, and whatever is inside a pod CIDR. Not the nodes, although they may have
// addresses in there: what they masquerade comes from ports of any range, and one that meets a port of ours hangs.

import { type Cidr, type IpAddress, mappedPrefixLength, networkAddress } from "./address.ts";
import { AddressTable } from "./address-table.ts";
import type { MeshIndex } from "./mesh-index.ts";

const anyPort = 0;

export class KeptSources {
  /** Four words of each network, then four of its mask. */
  readonly #networks: Int32Array;
  readonly #nodes: AddressTable<IpAddress>;

  constructor(podCidrs: readonly Cidr[], nodeAddresses: readonly IpAddress[]) {
    this.#networks = Int32Array.from(
      podCidrs.flatMap((cidr) => [...networkAddress(cidr).words, ...maskWords(mappedPrefixLength(cidr))]),
    );
    this.#nodes = new AddressTable(nodeAddresses.length);
    for (const address of nodeAddresses) this.#nodes.set(address, anyPort, address);
  }

  /** Words may be signed or unsigned. */
  keeps(index: MeshIndex, w0: number, w1: number, w2: number, w3: number): boolean {
    if (this.#nodes.get(w0, w1, w2, w3, anyPort) !== undefined) return false;
    return this.#isInPodCidr(w0, w1, w2, w3) || index.workloadAt(w0, w1, w2, w3) !== undefined;
  }

  #isInPodCidr(w0: number, w1: number, w2: number, w3: number): boolean {
    const n = this.#networks;
    for (let i = 0; i < n.length; i += 8) {
      const difference =
        ((w0 ^ n[i]!) & n[i + 4]!) |
        ((w1 ^ n[i + 1]!) & n[i + 5]!) |
        ((w2 ^ n[i + 2]!) & n[i + 6]!) |
        ((w3 ^ n[i + 3]!) & n[i + 7]!);
      if (difference === 0) return true;
    }
    return false;
  }
}

function maskWords(bits: number): number[] {
  return [0, 32, 64, 96].map((from) => {
    const own = Math.min(Math.max(bits - from, 0), 32);
    return own === 0 ? 0 : -1 << (32 - own);
  });
}
