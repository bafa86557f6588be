// The native layer under the sanitizers (scripts/test-native.sh): the reactor's core, built without Node, driven at random
// by reactor_driver.cc; and the addon's own tests. `npm run test:native -- <steps> <seed>` does the same for 10^7 steps.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const steps = 200_000;

test("no byte of one connection appears on another, and blocks and descriptors are given back, under ASan, UBSan and TSan; the addon is clean under ASan in Node", {
  timeout: 600_000,
}, () => {
  const seed = 1 + Math.floor(Math.random() * 1e6);
  const { status, stdout, stderr } = spawnSync("bash", ["scripts/test-native.sh", String(steps), String(seed)], {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
  });
  const report = `${stdout}${stderr}`;
  assert.equal(status, 0, report);
  assert.equal(report.match(/: ok$/gm)?.length, 3, report);
  // Or it would prove nothing: a run in which one of these never happened.
  for (const happened of [
    "handed over",
    "refused or timed out",
    "relays",
    "blocked writes",
    "timers",
    "stale handles",
    "starved reads",
    "exits",
    "complete streams",
    "handshakes completed",
    "accepted late",
    "refused",
    "timed out",
    "truncated",
    "not TLS",
    "malformed",
    "untrusted",
    "without certificate",
    "with another protocol",
    "broken off by the peer",
    "without a context",
    "key updates of peers",
    "complete streams over TLS",
  ]) {
    assert.match(report, new RegExp(`[1-9]\\d* ${happened}`), happened);
  }
});
