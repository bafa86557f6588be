// What user space writes is what the BPF programs read.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  encodeAddress,
  encodeNetworks,
  encodeOptOuts,
  encodePod,
  encodeU32,
  encodeU64,
  layout,
  sizes,
  sumU64,
} from "../../../src/kernel/layout.ts";
import { addressFromWords, cidrContains, parseAddress, parseCidr } from "../../../src/mesh/address.ts";

const structs = readFileSync(join(import.meta.dirname, "../../../bpf/structs.h"), "utf8");

test("sizes are those that structs.h asserts", () => {
  for (const [name, size] of Object.entries(sizes)) {
    assert.match(structs, new RegExp(`sizeof\\(struct ${name}\\) == ${size},`), name);
  }
});

test("numbers are those that structs.h defines", () => {
  for (const [name, value] of Object.entries(layout)) {
    assert.match(structs, new RegExp(`^#define ${name} ${value}( *//.*)?$`, "m"), name);
  }
});

test("a pod's bytes", () => {
  const bytes = encodePod(0x01020304, 5, parseAddress("10.1.2.3"), parseAddress("fd00::5"));
  assert.equal(hex(bytes), `0403020105000000${"00".repeat(10)}ffff0a010203fd00${"00".repeat(13)}05`);
  assert.equal(hex(encodePod(1, 0, undefined, undefined)), `01000000${"00".repeat(36)}`);
});

test("networks are masks over the v4-mapped form, with the host bits cleared", () => {
  const bytes = encodeNetworks([parseCidr("10.1.2.3/12")!, parseCidr("fd12:3456::1/20")!]);
  assert.equal(bytes.length, sizes.networks);
  assert.equal(hex(bytes.subarray(0, 8)), "0200000000000000");
  assert.equal(hex(bytes.subarray(8, 40)), `${"00".repeat(10)}ffff0a000000${"ff".repeat(12)}fff00000`);
  assert.equal(hex(bytes.subarray(40, 72)), `fd123000${"00".repeat(12)}fffff000${"00".repeat(12)}`);
});

test("a network's mask contains exactly the addresses that the CIDR contains", () => {
  const word = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.constantFrom(0, 0xffff, 0xffffffff));
  const address = fc.oneof(
    fc.tuple(word, word, word, word).map((words) => addressFromWords(...words)),
    word.map((last) => addressFromWords(0, 0, 0xffff, last)),
  );
  const cidr = address.chain((base) =>
    fc.integer({ min: 0, max: base.family === 4 ? 32 : 128 }).map((prefixLength) => ({ address: base, prefixLength })),
  );
  fc.assert(
    fc.property(cidr, address, fc.integer({ min: 0, max: 127 }), (network, other, flipped) => {
      const bytes = encodeNetworks([network]).subarray(8);
      const neighbour = encodeAddress(network.address);
      neighbour[flipped >> 3]! ^= 0x80 >> (flipped & 7);
      for (const candidate of [encodeAddress(other), neighbour]) {
        const isIn = candidate.every((byte, i) => ((byte ^ bytes[i]!) & bytes[16 + i]!) === 0);
        assert.equal(isIn, cidrContains(network, addressFromWords(...wordsOf(candidate))));
      }
    }),
  );
});

test("an opt-out's bytes; without an address it matches every one", () => {
  const bytes = encodeOptOuts([
    { direction: "outbound", address: parseCidr("10.0.0.0/8"), ports: { from: 0x0102, to: 0x0304 } },
    { direction: "inbound", address: undefined, ports: { from: 0, to: 65535 } },
  ]);
  assert.equal(bytes.length, sizes.opt_outs);
  assert.equal(hex(bytes.subarray(0, 8)), "0200000000000000");
  assert.equal(hex(bytes.subarray(40, 48)), "0201040301000000");
  assert.equal(hex(bytes.subarray(48, 88)), `${"00".repeat(32)}0000ffff02000000`);
});

test("more pod CIDRs than fit are refused", () => {
  const cidrs = Array.from({ length: 17 }, (_, i) => parseCidr(`10.${i}.0.0/16`)!);
  assert.equal(encodeNetworks(cidrs.slice(1)).length, sizes.networks);
  assert.throws(() => encodeNetworks(cidrs), /17 pod CIDRs: at most 16/);
});

test("per-CPU counters are added up", () => {
  const bytes = new Uint8Array([...encodeU64(5n), ...encodeU64(1n << 33n), ...encodeU64(7n)]);
  assert.equal(sumU64(bytes), 12 + 2 ** 33);
  assert.equal(hex(encodeU32(0xfedcba98)), "98badcfe");
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function wordsOf(bytes: Uint8Array): [number, number, number, number] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)];
}
