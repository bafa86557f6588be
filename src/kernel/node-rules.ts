// What the programs know of the node as a whole: the namespaces that have no part in the mesh (`plain`), what those may do
// that nothing is known of yet, and by what probes are told apart where the exempt cgroup cannot tell them.

import type { IpAddress } from "../mesh/address.ts";
import type { NetnsCookie } from "../runtime/native.ts";
import type { KernelMaps } from "./kernel-objects.ts";
import {
  decodeProbePort,
  decodeU32,
  decodeU64,
  encodeAddress,
  encodeProbePort,
  encodeU32,
  encodeU64,
  layout,
} from "./layout.ts";
import { replaceKeys } from "./replace-keys.ts";

export class NodeRules {
  readonly #maps: KernelMaps;
  /** How many say so of each. */
  readonly #plain: Map<NetnsCookie, number>;
  /** By pod_id; those of a previous process too. */
  readonly #probePorts: Map<number, readonly number[]>;
  #flags: number;

  constructor(maps: KernelMaps) {
    this.#maps = maps;
    this.#plain = new Map();
    this.#probePorts = new Map();
    // What a previous process left stays in force until this one says otherwise.
    this.#flags = decodeU32(maps.node_flags.lookup(encodeU32(0))!);
    for (const key of maps.probe_ports.keys()) {
      const { podId, port } = decodeProbePort(key);
      this.#probePorts.set(podId, [...(this.#probePorts.get(podId) ?? []), port]);
    }
  }

  /** undefined: namespaces of which nothing is known pass, and are not told from plain ones. */
  setUnknown(what: "pass" | "deny" | undefined): void {
    const { NODE_NOTES_UNKNOWN, NODE_DENIES_UNKNOWN } = layout;
    const flags =
      what === undefined ? 0 : what === "deny" ? NODE_NOTES_UNKNOWN | NODE_DENIES_UNKNOWN : NODE_NOTES_UNKNOWN;
    this.#setFlags(NODE_NOTES_UNKNOWN | NODE_DENIES_UNKNOWN, flags);
  }

  get deniesUnknown(): boolean {
    return (this.#flags & layout.NODE_DENIES_UNKNOWN) !== 0;
  }

  /** Probes are told by the node's addresses and the pods' probe ports: the exempt cgroup is not there to tell them by. */
  passProbesByAddress(on: boolean): void {
    this.#setFlags(layout.NODE_PASSES_PROBES, on ? layout.NODE_PASSES_PROBES : 0);
  }

  /** Makes those of `mask` what they are in `flags`, all at once. */
  #setFlags(mask: number, flags: number): void {
    this.#flags = (this.#flags & ~mask) | flags;
    this.#maps.node_flags.update(encodeU32(0), encodeU32(this.#flags));
  }

  addPlain(cookie: NetnsCookie): void {
    this.#plain.set(cookie, (this.#plain.get(cookie) ?? 0) + 1);
    this.#maps.plain.update(encodeU64(cookie), encodeU32(1));
    this.#maps.unknown.delete(encodeU64(cookie));
  }

  /** Once for each `addPlain`. */
  removePlain(cookie: NetnsCookie): void {
    const left = (this.#plain.get(cookie) ?? 1) - 1;
    if (left > 0) {
      this.#plain.set(cookie, left);
      return;
    }
    this.#plain.delete(cookie);
    this.#maps.plain.delete(encodeU64(cookie));
  }

  /** Makes the node's own addresses exactly these. Throws when they are too many, with nothing changed. */
  setAddresses(addresses: Iterable<IpAddress>): void {
    replaceKeys(this.#maps.node_addresses, Iterator.from(addresses).map(encodeAddress), encodeU32(1));
  }

  setProbePorts(podId: number, ports: readonly number[]): void {
    for (const port of this.#probePorts.get(podId) ?? []) {
      if (!ports.includes(port)) this.#maps.probe_ports.delete(encodeProbePort(podId, port));
    }
    for (const port of ports) this.#maps.probe_ports.update(encodeProbePort(podId, port), encodeU32(1));
    if (ports.length > 0) this.#probePorts.set(podId, ports);
    else this.#probePorts.delete(podId);
  }

  /** Forgets what a previous process left: plain namespaces that this one did not name, probe ports of other pods. */
  settle(podIds: ReadonlySet<number>): void {
    replaceKeys(this.#maps.plain, this.#plain.keys().map(encodeU64), encodeU32(1));
    for (const id of [...this.#probePorts.keys()]) if (!podIds.has(id)) this.setProbePorts(id, []);
  }

  /** For how long the namespace, which is known from now on, has dialled what the mesh wants; undefined: it has not. */
  takeGapSeconds(cookie: NetnsCookie): number | undefined {
    const key = encodeU64(cookie);
    const since = this.#maps.unknown.lookup(key);
    if (since === undefined) return undefined;
    this.#maps.unknown.delete(key);
    return Number(process.hrtime.bigint() - decodeU64(since)) / 1e9; // Both are CLOCK_MONOTONIC.
  }
}
