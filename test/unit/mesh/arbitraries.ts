// Random addresses and meshes for properties: few enough bits that two of them often meet.

import fc from "fast-check";
import { addressFromWords, type IpAddress } from "../../../src/mesh/address.ts";
import type { MeshSnapshot } from "../../../src/mesh/snapshot.ts";
import { service, snapshot, workload } from "./fixtures.ts";

const word = fc.oneof(
  fc.constantFrom(0, 1, 0xffff, 0x10000, 0x80000000, 0xffffffff),
  fc.integer({ min: 0, max: 0xffffffff }),
);

export const anyAddress: fc.Arbitrary<IpAddress> = fc.oneof(
  word.map((w3) => addressFromWords(0, 0, 0xffff, w3)),
  fc.tuple(word, word, word, word).map((words) => addressFromWords(...words)),
);

/** Of one small pod network, so that they are near each other. */
export const podAddress: fc.Arbitrary<IpAddress> = fc.oneof(
  fc.integer({ min: 0, max: 40 }).map((host) => addressFromWords(0, 0, 0xffff, 0x0af40000 + host)),
  fc.integer({ min: 0, max: 40 }).map((host) => addressFromWords(0xfd000000, 0, 0, host)),
);

const small = fc.integer({ min: 0, max: 5 });
const anyWorkload = fc.record({ host: small, node: fc.constantFrom("a", "b"), isReady: fc.boolean() });
const anyService = fc.record({
  host: small,
  port: fc.constantFrom(80, 81),
  behind: fc.uniqueArray(small, { maxLength: 3 }),
});
/** So small that two of them share most, by name or by address. */
export const anyMesh: fc.Arbitrary<MeshSnapshot> = fc
  .record({
    workloads: fc.uniqueArray(fc.tuple(small, anyWorkload), { selector: ([n]) => n, maxLength: 6 }),
    services: fc.uniqueArray(fc.tuple(small, anyService), { selector: ([n]) => n, maxLength: 6 }),
  })
  .map(({ workloads, services }) => {
    const addresses = new Set<number>();
    const isFree = (host: number) => !addresses.has(host) && addresses.add(host);
    const there = workloads.filter(([, { host }]) => isFree(host));
    const names = new Set(there.map(([n]) => n));
    return snapshot(
      there.map(([n, { host, ...rest }]) => workload(`w${n}`, [`10.1.0.${host}`], rest)),
      services
        .filter(([, { host }]) => isFree(host + 100))
        .map(([n, { host, port, behind }]) =>
          service(
            `s${n}`,
            [`10.2.0.${host}`],
            behind.filter((it) => names.has(it)).map((it) => `w${it}`),
            {
              ports: [{ port, targetPort: 8080 }],
            },
          ),
        ),
    );
  });
