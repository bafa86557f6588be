import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Balanced, type Circumstances, pickEndpoint } from "../../../src/mesh/balance.ts";
import { type Endpoint, newEndpoint } from "../../../src/mesh/endpoint.ts";
import { at, workload } from "./fixtures.ts";

function endpoints(loads: readonly number[]): Endpoint[] {
  return loads.map((openConnections, i) => {
    const address = at(`10.0.${i >> 8}.${i & 255}`);
    return { ...newEndpoint(workload(`w${i}`, []), address, 80, `default/w${i}`), openConnections };
  });
}

function target(tiers: readonly (readonly Endpoint[])[], hasAffinity = false): Balanced {
  return { endpoints: tiers.flat(), tiers: tiers.filter((tier) => tier.length > 0), hasAffinity };
}

function circumstances(random: () => number, rest: Partial<Circumstances> = {}): Circumstances {
  return { nowMs: 0, random, client: at("10.9.0.1").words, tried: [], ...rest };
}

function pickP2c(all: readonly Endpoint[], random: () => number): Endpoint | undefined {
  return pickEndpoint(target([all]), circumstances(random));
}

/** Ejected until long after. */
function eject(...some: readonly Endpoint[]): void {
  for (const it of some) it.ejectedUntilMs = 1e9;
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

describe("nearness", () => {
  test("the nearest tier takes every connection while it is not crowded", () => {
    const [near, far] = [endpoints([3, 4]), endpoints([0, 0])];
    for (let i = 0; i < 100; i++) {
      assert.ok(near.includes(pickEndpoint(target([near, far]), circumstances(Math.random))!));
    }
  });

  test("a crowded tier spills over to the next, and no further than that is needed", () => {
    const [node, zone, rest] = [endpoints([9]), endpoints([0]), endpoints([0])];
    assert.equal(pickEndpoint(target([node, zone, rest]), circumstances(Math.random)), zone[0]);
    zone[0]!.openConnections = 9;
    node[0]!.openConnections = 45;
    assert.equal(pickEndpoint(target([node, zone, rest]), circumstances(Math.random)), rest[0]);
  });

  test("a tier of which all are ejected is passed over", () => {
    const [near, far] = [endpoints([0, 0]), endpoints([5])];
    eject(...near);
    assert.equal(pickEndpoint(target([near, far]), circumstances(Math.random)), far[0]);
  });
});

describe("ejected endpoints", () => {
  test("get nothing while another is left", () => {
    const all = endpoints([0, 0, 7, 0]);
    eject(all[0]!, all[1]!, all[3]!);
    for (let i = 0; i < 50; i++) assert.equal(pickP2c(all, Math.random), all[2]);
  });

  test("get connections again when none is left: an ejection may be wrong", () => {
    const all = endpoints([0, 0, 0]);
    eject(...all);
    const picked = new Set(Array.from({ length: 100 }, () => pickP2c(all, Math.random)));
    assert.equal(picked.size, 3);
  });

  test("count again when their time is over, until one connection probes them", () => {
    const all = endpoints([5, 0]);
    all[1]!.ejectedUntilMs = 10;
    const pick = (nowMs: number) => pickEndpoint(target([all]), circumstances(Math.random, { nowMs }));
    assert.equal(pick(9), all[0]);
    assert.equal(pick(10), all[1]);
    all[1]!.isProbed = true;
    assert.equal(pick(10), all[0]);
  });
});

test("what a connection has tried is not picked again, and nothing when all was", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.nat(6), fc.boolean(), (count, triedCount, hasAffinity) => {
      const all = endpoints(new Array<number>(count).fill(0));
      const tried = all.slice(0, triedCount);
      const picked = pickEndpoint(target([all], hasAffinity), circumstances(Math.random, { tried }));
      assert.equal(picked !== undefined && !tried.includes(picked), triedCount < count);
    }),
  );
});

describe("affinity by client address", () => {
  const clients = Array.from({ length: 1000 }, (_, i) => at(`10.9.${i >> 8}.${i & 255}`).words);
  const choices = (all: readonly Endpoint[]) =>
    clients.map((client) =>
      pickEndpoint(
        target([all], true),
        circumstances(() => assert.fail("no dice"), { client }),
      ),
    );

  test("spreads clients over endpoints, each client always to the same", () => {
    const all = endpoints([9, 0, 0, 0]);
    const chosen = choices(all);
    assert.deepEqual(choices(all), chosen);
    for (const it of all) {
      const share = chosen.filter((each) => each === it).length;
      assert.ok(share > 180 && share < 320, `${it.label} has ${share} of 1000 clients`);
    }
  });

  test("an endpoint that goes moves its own clients only, and one that is ejected too", () => {
    const all = endpoints([0, 0, 0, 0]);
    const before = choices(all);
    const gone = choices(all.slice(1));
    eject(all[0]!);
    for (const after of [gone, choices(all)]) {
      for (const [i, it] of before.entries()) if (it !== all[0]) assert.equal(after[i], it);
      assert.ok(!after.includes(all[0]));
    }
  });
});
