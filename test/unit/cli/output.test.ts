import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBytes, formatDuration, pairs, table } from "../../../src/cli/output.ts";

test("a table's columns are as wide as their widest cell, and no line ends in spaces", () => {
  const text = table(
    ["NAME", "ADDRESS", "WHY"],
    [
      ["default/web-1", "10.0.0.1:80", ""],
      ["a", "[fd00::1]:8080", "ejected"],
    ],
  );
  assert.equal(
    text,
    [
      "NAME            ADDRESS          WHY",
      "default/web-1   10.0.0.1:80",
      "a               [fd00::1]:8080   ejected",
    ].join("\n"),
  );
});

test("pairs stand below each other", () => {
  assert.equal(
    pairs([
      ["a", "1"],
      ["long", ""],
    ]),
    "a     1\nlong",
  );
});

test("durations are told in the units that matter", () => {
  const told = [0, 940, 9949, 9950, 59_400, 60_000, 185_000, 3_600_000, 90_000_000].map(formatDuration);
  assert.deepEqual(told, ["0.0s", "0.9s", "9.9s", "10s", "59s", "1m0s", "3m5s", "1h0m", "1d1h"]);
});

test("bytes are told in binary units", () => {
  const told = [0, 1023, 1024, 1536, 20 * 1024 ** 2, 5 * 1024 ** 4].map(formatBytes);
  assert.deepEqual(told, ["0B", "1023B", "1.0KiB", "1.5KiB", "20MiB", "5.0TiB"]);
});
