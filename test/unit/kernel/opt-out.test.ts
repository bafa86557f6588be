import assert from "node:assert/strict";
import { test } from "node:test";
import { optOutRules } from "../../../src/kernel/opt-out.ts";
import { parseCidr } from "../../../src/mesh/address.ts";

const address = parseCidr("10.9.0.0/16");

test("each port range is one rule, and no range means every port", () => {
  const outbound = [
    {
      address,
      ports: [
        { from: 1, to: 2 },
        { from: 9, to: 9 },
      ],
    },
  ];
  const inbound = [
    { address: undefined, ports: [] },
    { address: undefined, ports: [{ from: 22, to: 22 }] },
  ];
  assert.deepEqual(optOutRules("default/web", outbound, inbound), [
    { direction: "outbound", address, ports: { from: 1, to: 2 } },
    { direction: "outbound", address, ports: { from: 9, to: 9 } },
    { direction: "inbound", address: undefined, ports: { from: 0, to: 65535 } },
    { direction: "inbound", address: undefined, ports: { from: 22, to: 22 } },
  ]);
});

test("both directions together have sixteen rules at most", () => {
  const many = (count: number) => [{ address, ports: Array.from({ length: count }, (_, i) => ({ from: i, to: i })) }];
  assert.equal(optOutRules("default/web", many(8), many(8)).length, 16);
  assert.throws(() => optOutRules("default/web", many(8), many(9)), /default\/web: 17 opt-out rules, and at most 16/);
});
