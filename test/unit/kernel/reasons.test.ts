import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { reasons } from "../../../src/kernel/reasons.ts";

test("reasons have the numbers and names of bpf/reasons.h", () => {
  const header = readFileSync(join(import.meta.dirname, "../../../bpf/reasons.h"), "utf8");
  const inBpf = [...header.matchAll(/REASON_(\w+) = (\d+),/g)].map(([, name, number]) => [name, Number(number)]);
  const inTypeScript = reasons.map(({ name, number }) => [name.toUpperCase(), number]);
  assert.deepEqual([...inTypeScript, ["COUNT", reasons.length + 1]], inBpf);
});

test("no two reasons share a number or a name", () => {
  assert.equal(new Set(reasons.map(({ number }) => number)).size, reasons.length);
  assert.equal(new Set(reasons.map(({ name }) => name)).size, reasons.length);
});
