// One network of a node: its prefixes, its bridge, and the hosts in it. They are numbered from 2; the bridge is 1.

import type { Addresses, Host } from "./host.ts";

export class HostNetwork {
  readonly bridge: string;
  readonly ipv4Prefix: string;
  readonly ipv6Prefix: string;
  readonly hosts: Host[] = [];

  constructor(bridge: string, ipv4Prefix: string, ipv6Prefix: string) {
    this.bridge = bridge;
    this.ipv4Prefix = ipv4Prefix;
    this.ipv6Prefix = ipv6Prefix;
  }

  /** The node's own in it. */
  get gateway(): { readonly ipv4: string; readonly ipv6: string } {
    return { ipv4: `${this.ipv4Prefix}1`, ipv6: `${this.ipv6Prefix}1` };
  }

  /** The host of that name: made by the first call, with addresses of those families. */
  host<T extends Host>(name: string, make: (addresses: Addresses) => T, families: readonly (4 | 6)[] = [4, 6]): T {
    const declared = this.hosts.find((host) => host.name === name);
    if (declared !== undefined) return declared as T;
    const made = make(this.#nextAddresses(families));
    this.hosts.push(made);
    return made;
  }

  #nextAddresses(families: readonly (4 | 6)[]): Addresses {
    const number = this.hosts.length + 2;
    if (number > 250) throw new Error(`${this.bridge}: no more than 249 hosts on a node`);
    return {
      ipv4: families.includes(4) ? `${this.ipv4Prefix}${number}` : undefined,
      ipv6: families.includes(6) ? `${this.ipv6Prefix}${number.toString(16)}` : undefined,
    };
  }

  /** For `ip -batch` in the node. */
  get bridgeLines(): string[] {
    const { ipv4, ipv6 } = this.gateway;
    return [
      // Without snooping, neighbour discovery works before the bridge has learned anything.
      `link add ${this.bridge} type bridge mcast_snooping 0`,
      `address add ${ipv4}/24 dev ${this.bridge}`,
      `address add ${ipv6}/64 dev ${this.bridge} nodad`,
      `link set ${this.bridge} up`,
    ];
  }

  /** For `ip -batch` in a host of it. */
  hostLines({ ipv4, ipv6 }: Addresses): string[] {
    const lines = ["link set eth0 up"];
    if (ipv4 !== undefined) lines.push(`address add ${ipv4}/24 dev eth0`, `route add default via ${this.gateway.ipv4}`);
    if (ipv6 !== undefined)
      lines.push(`address add ${ipv6}/64 dev eth0 nodad`, `route add ::/0 via ${this.gateway.ipv6}`);
    return lines;
  }
}
