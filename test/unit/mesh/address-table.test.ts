import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addressFromWords, formatSocketAddress } from "../../../src/mesh/address.ts";
import { AddressTable } from "../../../src/mesh/address-table.ts";
import { anyAddress, podAddress } from "./arbitraries.ts";

test("an address table answers like a map from address and port, whatever was put in", () => {
  const address = fc.oneof(podAddress, anyAddress);
  const entry = fc.record({ address, port: fc.constantFrom(0, 1, 80, 65535), value: fc.object({ maxKeys: 1 }) });
  fc.assert(
    fc.property(fc.array(entry, { size: "large" }), fc.array(address), (entries, others) => {
      const table = new AddressTable<object>(2);
      const map = new Map<string, object>();
      for (const { address, port, value } of entries) {
        table.set(address, port, value);
        map.set(formatSocketAddress(address, port), value);
      }
      assert.equal(table.size, map.size);
      for (const address of [...entries.map((it) => it.address), ...others]) {
        for (const port of [0, 1, 80, 65535]) {
          const [w0, w1, w2, w3] = address.words;
          assert.equal(table.get(w0, w1, w2, w3, port), map.get(formatSocketAddress(address, port)));
          assert.equal(table.get(w0 | 0, w1 | 0, w2 | 0, w3 | 0, port), map.get(formatSocketAddress(address, port)));
        }
      }
    }),
  );
});

test("an address table tells apart keys that differ in any one word or the port", () => {
  const table = new AddressTable<{ at: number }>();
  const keys = [0, 1, 2, 3, 4].map((at) => [0, 1, 2, 3, 4].map((i) => (i === at ? 7 : 0)));
  for (const [at, [w0, w1, w2, w3, port]] of keys.entries()) {
    table.set(addressFromWords(w0!, w1!, w2!, w3!), port!, { at });
  }
  assert.equal(table.size, 5);
  for (const [at, [w0, w1, w2, w3, port]] of keys.entries()) {
    assert.equal(table.get(w0!, w1!, w2!, w3!, port!)?.at, at);
  }
});
