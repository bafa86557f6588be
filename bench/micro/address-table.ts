// What a destination look-up costs a worker: AddressTable beside the maps that plain JavaScript offers, over 10,000
// workloads and 1,000 services, keys drawn at random. Run: node bench/micro/address-table.ts
// Subjects take turns and the median of the rounds is printed, for the machine may be shared.

import { addressFromWords, formatAddress, formatSocketAddress, type IpAddress } from "../../src/mesh/address.ts";
import { AddressTable } from "../../src/mesh/address-table.ts";
import { MeshIndex } from "../../src/mesh/mesh-index.ts";
import type { MeshSnapshot } from "../../src/mesh/snapshot.ts";
import { snapshot as meshOf, service, workload } from "../../test/unit/mesh/fixtures.ts";

const size = 10_000;
const lookups = 200_000;
const rounds = 15;
const port = 80;

const value = { hit: true };
/** 256 nodes' pod ranges of 10.244.0.0/16, filled from below, as a cluster does. */
const present = Array.from({ length: size }, (_, i) => pod(i & 0xff, 2 + (i >>> 8)));
const absent = Array.from({ length: size }, (_, i) => pod(i & 0xff, 0x80 + (i >>> 8)));
const inIpv6 = present.map(({ words }) => addressFromWords(0xfd000000, 0x100000, 0, words[3]));

const subjects: Record<string, (addresses: readonly IpAddress[]) => (address: IpAddress) => unknown> = {
  AddressTable: (addresses) => {
    const table = new AddressTable<object>();
    for (const address of addresses) table.set(address, port, value);
    return ({ words }) => table.get(words[0], words[1], words[2], words[3], port);
  },
  "Map of strings": (addresses) => {
    const map = new Map(addresses.map((address) => [stringKey(address), value]));
    return (address) => map.get(stringKey(address));
  },
  "Map of Maps, a level per word": (addresses) => {
    type Level = Map<number, unknown>;
    const root: Level = new Map();
    for (const { words } of addresses) {
      let level = root;
      for (const word of words) level = getOrAdd(level, word);
      level.set(port, value);
    }
    return ({ words }) => {
      let level: Level | undefined = root;
      for (let i = 0; i < 4 && level !== undefined; i++) level = level.get(words[i]!) as Level | undefined;
      return level?.get(port);
    };
  },
};

const cases = {
  "IPv4, found": [present, present],
  "IPv4, absent": [present, absent],
  "IPv6, found": [inIpv6, inIpv6],
} as const;

for (const [title, [stored, sought]] of Object.entries(cases)) {
  const order = Array.from({ length: lookups }, () => sought[Math.floor(Math.random() * size)]!);
  const runs = Object.entries(subjects).map(([name, build]) => ({
    name,
    find: build(stored),
    samples: [] as number[],
  }));
  const expected = title.endsWith("found") ? lookups : 0;
  for (let round = 0; round < rounds; round++) {
    for (const { name, find, samples } of runs) {
      const start = process.hrtime.bigint();
      let found = 0;
      for (const address of order) if (find(address) !== undefined) found++;
      samples.push(Number(process.hrtime.bigint() - start) / lookups);
      if (found !== expected) throw new Error(`${name}: ${found} found of ${expected}`);
    }
  }
  for (const { name, samples } of runs) print(`${title}: ${name}`, median(samples), "ns per look-up");
}

const mesh = snapshot();
const builds = Array.from({ length: rounds }, () => {
  const start = process.hrtime.bigint();
  MeshIndex.of(mesh);
  return Number(process.hrtime.bigint() - start) / 1e6;
});
print("MeshIndex of 10,000 workloads behind 1,000 services", median(builds), "ms");

function pod(node: number, host: number): IpAddress {
  return addressFromWords(0, 0, 0xffff, 0x0af40000 + node * 256 + host);
}

function stringKey(address: IpAddress): string {
  return formatSocketAddress(address, port);
}

function getOrAdd(level: Map<number, unknown>, word: number): Map<number, unknown> {
  const next = (level.get(word) as Map<number, unknown> | undefined) ?? new Map<number, unknown>();
  level.set(word, next);
  return next;
}

function snapshot(): MeshSnapshot {
  const workloads = present.map((address, i) => workload(`w${i}`, [formatAddress(address)]));
  const services = Array.from({ length: size / 10 }, (_, i) =>
    service(
      `s${i}`,
      [formatAddress(addressFromWords(0, 0, 0xffff, 0x0a600000 + i))],
      Array.from({ length: 10 }, (_, k) => `w${i * 10 + k}`),
    ),
  );
  return meshOf(workloads, services);
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1]!;
}

function print(what: string, amount: number, unit: string): void {
  console.log(`${what.padEnd(56)}${amount.toFixed(1).padStart(8)} ${unit}`);
}
