import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  lastThirdOverFirst,
  median,
  orderOfRound,
  pairedRatios,
  quantile,
  summarize,
} from "../../../bench/statistics.ts";

const samples = fc.array(fc.double({ min: 0.001, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 40 });

for (const [values, expected] of [
  [[3], 3],
  [[10, 2, 9], 9],
  [[4, 1, 100, 2], 3],
] as const) {
  test(`the median of ${values.join(", ")} is ${expected}`, () => assert.equal(median(values), expected));
}

test("a quantile interpolates between the two nearest ranks", () => {
  assert.equal(quantile([0, 10, 20, 30, 40], 0.25), 10);
  assert.equal(quantile([0, 10], 0.975), 9.75);
  assert.equal(quantile([7, 8], 1), 8);
});

test("a summary's median lies inside its interval, and the interval inside the samples", () => {
  fc.assert(
    fc.property(samples, (values) => {
      const { median, low, high } = summarize(values);
      assert.ok(low <= median && median <= high);
      assert.ok(low >= Math.min(...values) && high <= Math.max(...values));
    }),
    { numRuns: 50 },
  );
});

test("the same samples and seed give the same interval, so that a result file can be checked", () => {
  const values = [90.1, 1.7, 8.2, 20.4, 7.5, 33.3, 6.9, 4.8];
  assert.deepEqual(summarize(values), summarize(values));
});

test("the interval covers the true median of more than 85 of 100 noisy experiments (15 samples each; it is a percentile bootstrap)", () => {
  let state = 42;
  const noise = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  let covered = 0;
  for (let experiment = 0; experiment < 100; ++experiment) {
    const { low, high } = summarize(
      Array.from({ length: 15 }, () => 100 + noise() + noise() + noise() - 1.5),
      experiment + 1,
    );
    if (low <= 100 && 100 <= high) ++covered;
  }
  assert.ok(covered >= 85 && covered < 100, `${covered} of 100 intervals cover the true median`);
});

test("ratios pair the samples of one round, so that the machine's mood cancels", () => {
  assert.deepEqual(pairedRatios([10, 40, 5], [20, 80, 10]), [0.5, 0.5, 0.5]);
  assert.throws(() => pairedRatios([1], [1, 2]), /1 samples cannot pair with 2/);
});

test("a rate that falls over time shows as a last third below the first", () => {
  assert.deepEqual(lastThirdOverFirst([100, 200, 7, 7, 50, 50]), [0.5, 0.25]);
  assert.deepEqual(lastThirdOverFirst([8, 8, 99, 4]), [0.5]);
  assert.throws(() => lastThirdOverFirst([1, 2]), /no thirds/);
});

test("rounds alternate their order, ABBA, and every round has every subject", () => {
  const subjects = ["a", "b", "c"];
  assert.deepEqual(orderOfRound(subjects, 0), ["a", "b", "c"]);
  assert.deepEqual(orderOfRound(subjects, 1), ["c", "b", "a"]);
  assert.deepEqual(subjects, ["a", "b", "c"]);
});
