import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addressFromWords, formatSocketAddress } from "../../../src/mesh/address.ts";
import { AddressTable } from "../../../src/mesh/address-table.ts";
import { anyAddress, podAddress } from "./arbitraries.ts";

test("an address table answers like a map from address and port, whatever was put in and taken out", () => {
  const address = fc.oneof(podAddress, anyAddress);
  const entry = fc.record({
    address,
    port: fc.constantFrom(0, 1, 80, 65535),
    value: fc.object({ maxKeys: 1 }),
    removes: fc.option(fc.nat(), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(entry, { size: "large" }), fc.array(address), (entries, others) => {
      const table = new AddressTable<object>(2);
      const map = new Map<string, object>();
      for (const { address, port, value, removes } of entries) {
        table.set(address, port, value);
        map.set(formatSocketAddress(address, port), value);
        const removed = removes === undefined ? undefined : entries[removes % entries.length];
        if (removed === undefined) continue;
        table.delete(removed.address, removed.port);
        map.delete(formatSocketAddress(removed.address, removed.port));
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

for (const [at, part] of ["word 0", "word 1", "word 2", "word 3", "port"].entries()) {
  test(`an address table tells apart keys that differ in ${part} only, those that are absent too`, () => {
    const table = new AddressTable<{ n: number }>();
    const key = (n: number) =>
      [0, 1, 2, 3, 4].map((i) => (i === at ? n : 0)) as [number, number, number, number, number];
    for (let n = 0; n < 1000; n++) {
      const [w0, w1, w2, w3, port] = key(n);
      table.set(addressFromWords(w0, w1, w2, w3), port, { n });
    }
    assert.equal(table.size, 1000);
    for (let n = 0; n < 2000; n++) assert.equal(table.get(...key(n))?.n, n < 1000 ? n : undefined);
  });
}
