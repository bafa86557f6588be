// What of all that pods dial is of interest to the mesh, as the connect hooks know it: addresses, networks, and ports of
// services behind which nobody is, which are refused. Whole, or by what changed.

import type { Cidr, IpAddress } from "../mesh/address.ts";
import type { KernelMaps } from "./kernel-objects.ts";
import { encodeAddress, encodeNetworks, encodeRefused, encodeU32 } from "./layout.ts";
import { replaceKeys } from "./replace-keys.ts";

export interface RefusedEndpoint {
  readonly address: IpAddress;
  readonly port: number;
}

const present = encodeU32(1);

export class MeshInterest {
  readonly #maps: KernelMaps;

  constructor(maps: KernelMaps) {
    this.#maps = maps;
  }

  /** Makes the addresses and networks of interest exactly these; what stays is not touched. */
  setDestinations(addresses: Iterable<IpAddress>, podCidrs: readonly Cidr[]): void {
    const networks = encodeNetworks(podCidrs);
    // An address that a network covers from now on is never without both.
    replaceKeys(this.#maps.destinations, Iterator.from(addresses).map(encodeAddress), present, () =>
      this.#maps.pod_cidrs.update(encodeU32(0), networks),
    );
  }

  /** Of what `setDestinations` set. What is new is there before what is gone goes. Throws when there are too many. */
  changeDestinations(added: Iterable<IpAddress>, removed: Iterable<IpAddress>, podCidrs: readonly Cidr[]): void {
    const { destinations, pod_cidrs } = this.#maps;
    const networks = encodeNetworks(podCidrs);
    for (const address of added) destinations.update(encodeAddress(address), present);
    pod_cidrs.update(encodeU32(0), networks);
    for (const address of removed) destinations.delete(encodeAddress(address));
  }

  /** Makes the endpoints that refuse in the connect hook exactly these; what stays is not touched. */
  setRefused(endpoints: Iterable<RefusedEndpoint>): void {
    const keys = Iterator.from(endpoints).map(({ address, port }) => encodeRefused(address, port));
    replaceKeys(this.#maps.refused, keys, present);
  }

  /** Of what `setRefused` set. */
  changeRefused(added: Iterable<RefusedEndpoint>, removed: Iterable<RefusedEndpoint>): void {
    for (const { address, port } of removed) this.#maps.refused.delete(encodeRefused(address, port));
    for (const { address, port } of added) this.#maps.refused.update(encodeRefused(address, port), present);
  }
}
