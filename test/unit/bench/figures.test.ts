import assert from "node:assert/strict";
import { test } from "node:test";
import { SampleBook, toFigures } from "../../../bench/figures.ts";
import { table } from "../../../bench/report.ts";

function book(): SampleBook {
  const samples = new SampleBook();
  for (const [ours, peer, base] of [
    [50, 40, 100],
    [110, 80, 200],
    [30, 20, 50],
  ] as const) {
    samples.add("rate", "1/s", "base", base);
    samples.add("cpu", "µs", "ours", 7);
    samples.add("rate", "1/s", "ours", ours);
    samples.add("rate", "1/s", "a-peer", peer);
    samples.add("errors", "count", "ours", 0);
    samples.add("errors", "count", "base", 0);
  }
  return samples;
}

test("a subject's samples stay in the order of the rounds, grouped by figure", () => {
  assert.deepEqual(
    book()
      .series()
      .map(({ name, subject, samples }) => [name, subject, ...samples]),
    [
      ["rate", "base", 100, 200, 50],
      ["rate", "ours", 50, 110, 30],
      ["rate", "a-peer", 40, 80, 20],
      ["cpu", "ours", 7, 7, 7],
      ["errors", "ours", 0, 0, 0],
      ["errors", "base", 0, 0, 0],
    ],
  );
});

test("a figure has a ratio to every baseline that has it, of the pairs of one round, and raw samples with it", () => {
  const figures = toFigures(book().series(), ["base", "a-peer"]);
  const ours = figures.find(({ name, subject }) => name === "rate_to_base" && subject === "ours");
  assert.deepEqual(ours?.samples, [0.5, 0.55, 0.6]);
  assert.equal(ours?.median, 0.55);
  assert.deepEqual(
    figures.filter(({ unit }) => unit === "ratio").map(({ name, subject }) => `${name} ${subject}`),
    ["rate_to_a_peer base", "rate_to_base ours", "rate_to_a_peer ours", "rate_to_base a-peer"],
  );
});

test("the table has a row per figure and subject, with its ratios beside it", () => {
  const baselines = ["base", "a-peer"];
  const rows = table(toFigures(book().series(), baselines), baselines).split("\n");
  assert.equal(rows.length, 1 + 6);
  assert.match(rows[0]!, /^figure +subject +median \[95 %\] +unit +÷ base +÷ a-peer$/);
  assert.match(rows[2]!, /^rate +ours +50\.0 \[30\.0, 110\] +1\/s +0\.550 \[0\.500, 0\.600\] +1\.38 \[1\.25, 1\.50\]$/);
});
