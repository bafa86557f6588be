// The reactor's core, built without Node under the sanitizers and driven at random (reactor_driver.cc).
// `npm run test:native -- <steps> <seed>` drives it for longer.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const steps = 15_000;

test("no byte of one connection appears on another, and blocks and descriptors are given back, under ASan, UBSan and TSan", {
  timeout: 300_000,
}, () => {
  const seed = 1 + Math.floor(Math.random() * 1e6);
  const { status, stdout, stderr } = spawnSync("bash", ["scripts/test-native.sh", String(steps), String(seed)], {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
  });
  const report = `${stdout}${stderr}`;
  assert.equal(status, 0, report);
  assert.equal(report.match(/: ok$/gm)?.length, 2, report);
  // Or it would prove nothing: streams that came whole, handles that were dead, reads without a block.
  for (const seen of [/[1-9]\d* handed over/, /[1-9]\d* stale/, /[1-9]\d* starved/, /[1-9]\d\d complete streams/]) {
    assert.match(report, seen);
  }
});
