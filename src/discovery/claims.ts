// What entries of a mesh.yaml claim for themselves alone: names, addresses, network namespaces. Kept from load to load, so that
// an entry more or less costs no more than itself. It says only whether all is well: mesh-references.ts finds the words.

import { formatAddress } from "../mesh/address.ts";
import { labelOf } from "../mesh/snapshot.ts";
import type { Entry } from "./entry.ts";
import type { DeclaredNode, NodeConfig } from "./node-config.ts";

export class Claims {
  /** Undefined: no nodes are listed, so that a workload may name any. */
  readonly #nodes: ReadonlySet<string> | undefined;
  /** A workload may have its node's address, a service may not. */
  readonly #nodeAddresses: ReadonlySet<string>;
  readonly #taken: Set<string>;

  constructor(own: NodeConfig, nodes: readonly DeclaredNode[]) {
    this.#nodes = nodes.length === 0 ? undefined : new Set([own.name, ...nodes.map(({ name }) => name)]);
    this.#nodeAddresses = new Set(nodes.flatMap(({ addresses }) => addresses.map(formatAddress)));
    this.#taken = new Set();
  }

  /** False: something of it is taken already, or does not fit; of no use any more. */
  add(entry: Entry): boolean {
    if (!this.#isGood(entry)) return false;
    for (const claim of claimsOf(entry)) {
      if (this.#taken.has(claim)) return false;
      this.#taken.add(claim);
    }
    return true;
  }

  remove(entry: Entry): void {
    for (const claim of claimsOf(entry)) this.#taken.delete(claim);
  }

  #isGood({ list, parsed }: Entry): boolean {
    if (!areDistinct(parsed.ports.map(({ name }) => name))) return false;
    if (list === "workloads") return this.#nodes === undefined || this.#nodes.has(parsed.node);
    return (
      areDistinct(parsed.ports.map(({ port }) => port)) &&
      (this.#nodeAddresses.size === 0 || !parsed.addresses.some((it) => this.#nodeAddresses.has(formatAddress(it))))
    );
  }
}

function claimsOf({ list, parsed }: Entry): string[] {
  const claims = parsed.addresses.map(formatAddress);
  claims.push(`${list} ${labelOf(parsed)}`);
  // Paths are those of a machine: two nodes may well use the same.
  if (list === "workloads" && parsed.netns !== undefined) claims.push(`netns ${parsed.node} ${parsed.netns}`);
  return claims;
}

function areDistinct(values: readonly unknown[]): boolean {
  if (values.length < 2) return true;
  const present = values.filter((it) => it !== undefined);
  return new Set(present).size === present.length;
}
