// A service: a name with virtual addresses, backed by pods. Its address works without Culvert too (MeshNode.route).

import type { Pod } from "./pod.ts";

export interface ServiceOptions {
  readonly port: number;
  /** Default: `port`. Without Culvert only `port` itself is reached. */
  readonly targetPort?: number;
  /** What the port is declared to speak. Default: nothing is declared. */
  readonly protocol?: string;
  /** The first one answers for the service where Culvert does not. */
  readonly endpoints: readonly Pod[];
  /** Default: the families that every endpoint has. */
  readonly families?: readonly (4 | 6)[];
  /** Further keys of its record in mesh.yaml. */
  readonly record?: Readonly<Record<string, unknown>>;
}

export class Service {
  readonly name: string;
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: string | undefined;
  /** Changes come into force with `MeshNode.reload`. */
  endpoints: readonly Pod[];
  record: Readonly<Record<string, unknown>>;
  readonly #ipv4: string | undefined;
  readonly #ipv6: string | undefined;

  constructor(name: string, number: number, options: ServiceOptions) {
    this.name = name;
    this.port = options.port;
    this.targetPort = options.targetPort ?? options.port;
    this.protocol = options.protocol;
    this.endpoints = options.endpoints;
    this.record = options.record ?? {};
    const { families = [4, 6] } = options;
    const all = (family: 4 | 6) =>
      families.includes(family) && options.endpoints.every(({ addresses: a }) => (family === 4 ? a.ipv4 : a.ipv6));
    this.#ipv4 = all(4) ? `10.96.0.${number}` : undefined;
    this.#ipv6 = all(6) ? `fd00:96::${number.toString(16)}` : undefined;
  }

  addressOf(family: 4 | 6): string | undefined {
    return family === 4 ? this.#ipv4 : this.#ipv6;
  }

  get ipv4(): string {
    if (this.#ipv4 === undefined) throw new Error(`service ${this.name} has no IPv4 address`);
    return this.#ipv4;
  }

  get ipv6(): string {
    if (this.#ipv6 === undefined) throw new Error(`service ${this.name} has no IPv6 address`);
    return this.#ipv6;
  }
}
