// Random addresses for the properties of this folder: few enough bits that two of them often meet.

import fc from "fast-check";
import { addressFromWords, type IpAddress } from "../../../src/mesh/address.ts";

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
