// This node's own addresses: those of the interfaces in this process's network namespace, kept current. What a process of the
// node sends, or the node masquerades, comes from one of them; so do the kubelet's probes.

import { networkInterfaces } from "node:os";
import { formatAddress, type IpAddress, parseAddress, unroutableKind } from "../mesh/address.ts";

/** No event tells a Node program that an address came or went; asking costs some 50 µs on a node with few interfaces. */
const intervalMs = 1000;

export class NodeAddresses implements Disposable {
  readonly #read: () => readonly IpAddress[];
  readonly #onChange: (addresses: readonly IpAddress[]) => void;
  readonly #timer: NodeJS.Timeout;
  #current: readonly IpAddress[];

  private constructor(read: () => readonly IpAddress[], onChange: (addresses: readonly IpAddress[]) => void) {
    this.#read = read;
    this.#onChange = onChange;
    this.#current = read();
    this.#timer = setInterval(() => this.#look(), intervalMs).unref();
  }

  /** `onChange` is called with all of them when one came or went, within about a second; not for those of the start. */
  static watch(onChange: (addresses: readonly IpAddress[]) => void, read = interfaceAddresses): NodeAddresses {
    return new NodeAddresses(read, onChange);
  }

  /** In no particular order, each once; no loopback, link-local or multicast address. */
  get current(): readonly IpAddress[] {
    return this.#current;
  }

  #look(): void {
    let addresses: readonly IpAddress[];
    try {
      addresses = this.#read();
    } catch {
      return; // Out of descriptors, say: what was known goes on to be true.
    }
    if (keyOf(addresses) === keyOf(this.#current)) return;
    this.#current = addresses;
    this.#onChange(addresses);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function interfaceAddresses(): readonly IpAddress[] {
  const found = new Map<string, IpAddress>();
  for (const { address: text } of Object.values(networkInterfaces()).flatMap((each) => each ?? [])) {
    const address = parseAddress(text);
    if (address !== undefined && unroutableKind(address) === undefined) found.set(formatAddress(address), address);
  }
  return [...found.values()];
}

function keyOf(addresses: readonly IpAddress[]): string {
  return addresses.map(formatAddress).sort().join(" ");
}
