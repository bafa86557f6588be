import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseAddress } from "../../../src/mesh/address.ts";
import { pickP2c } from "../../../src/mesh/balance.ts";
import type { Endpoint } from "../../../src/mesh/mesh-index.ts";

const address = parseAddress("10.0.0.1")!;

function endpoints(loads: readonly number[]): Endpoint[] {
  return loads.map((openConnections, i) => {
    const workload = { name: `w${i}`, namespace: "default", node: "a", addresses: [address] };
    return { workload, address, port: 80, label: `default/w${i}`, protocol: undefined, openConnections };
  });
}

/** Yields the given numbers one after another. */
function sequence(...numbers: number[]): () => number {
  return () => numbers.shift()!;
}

/** A reproducible stream of numbers in [0, 1): mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("power of two choices", () => {
  test("has no answer without endpoints", () => assert.equal(pickP2c([], Math.random), undefined));

  test("takes the only endpoint without rolling dice", () => {
    const [only] = endpoints([9]);
    assert.equal(
      pickP2c([only!], () => assert.fail("no randomness is needed")),
      only,
    );
  });

  test("draws two different endpoints, each pair as often as any other", () => {
    const pairs = new Map<string, number>();
    const all = endpoints([0, 0, 0, 0]);
    const steps = 12;
    for (let i = 0; i < steps; i++) {
      for (let j = 0; j < steps; j++) {
        // Between two equals the first drawn wins, so making the other better shows which it was.
        const first = pickP2c(all, sequence(i / steps, j / steps))!;
        first.openConnections = 1;
        const second = pickP2c(all, sequence(i / steps, j / steps))!;
        first.openConnections = 0;
        assert.notEqual(first, second);
        const pair = `${first.label} ${second.label}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
      }
    }
    assert.equal(pairs.size, 12);
    assert.deepEqual([...new Set(pairs.values())], [12]);
  });

  test("never takes the busiest of all while another is less busy", () => {
    const loads = fc.array(fc.nat(100), { minLength: 2, maxLength: 20 });
    const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(loads, unit, unit, (others, r1, r2) => {
        const all = endpoints([...others, 101]);
        assert.notEqual(pickP2c(all, sequence(r1, r2))?.openConnections, 101);
      }),
    );
  });

  test("keeps 1,000 open connections within a few of even over 10 endpoints", () => {
    const all = endpoints(new Array<number>(10).fill(0));
    const random = seeded(1);
    for (let i = 0; i < 1000; i++) pickP2c(all, random)!.openConnections++;
    const loads = all.map((it) => it.openConnections);
    // Drawn blindly, the spread would be about 30 (three standard deviations each way are 57).
    assert.ok(Math.max(...loads) - Math.min(...loads) <= 6, String(loads));
  });
});
