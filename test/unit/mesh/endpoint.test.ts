// The state machine that src/mesh/endpoint.ts draws.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  connectBegan,
  connectFailed,
  connectSucceeded,
  isAvailable,
  newEndpoint,
  probeAbandoned,
} from "../../../src/mesh/endpoint.ts";
import { at, workload } from "./fixtures.ts";

const middle = () => 0;
const endpoint = () => newEndpoint(workload("w", ["10.0.0.1"]), at("10.0.0.1"), 80, "default/w");

describe("an endpoint", () => {
  test("is ejected by the first failure, for a second and up to half of one", () => {
    for (const [random, ejectedMs] of [
      [0, 1000],
      [0.999999, 1500],
    ] as const) {
      const it = endpoint();
      assert.equal(connectBegan(it, 0), false);
      assert.equal(
        connectFailed(it, false, 100, () => random),
        ejectedMs,
      );
      assert.equal(isAvailable(it, 99 + ejectedMs), false);
      assert.equal(isAvailable(it, 100 + ejectedMs), true);
    }
  });

  test("is not ejected for longer by the other connections that were under way", () => {
    const it = endpoint();
    connectFailed(it, false, 0, middle);
    assert.equal(connectFailed(it, false, 10, middle), 0);
    assert.equal(it.ejectedUntilMs, 1000);
  });

  test("gets one probe when its time is over, and twice the time when that fails, up to a limit", () => {
    const it = endpoint();
    connectFailed(it, false, 0, middle);
    let nowMs = 0;
    const times: number[] = [];
    for (let i = 0; i < 7; i++) {
      nowMs = it.ejectedUntilMs;
      assert.equal(connectBegan(it, nowMs), true);
      assert.equal(isAvailable(it, nowMs), false, "one at a time");
      assert.equal(connectBegan(it, nowMs), false);
      times.push(connectFailed(it, true, nowMs, middle));
    }
    assert.deepEqual(times, [2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  });

  test("is as new when a connection succeeds, the probe or one made because all were ejected", () => {
    for (const nowMs of [500, 1000]) {
      const it = endpoint();
      connectFailed(it, false, 0, middle);
      connectBegan(it, nowMs);
      assert.equal(connectSucceeded(it, nowMs), true);
      assert.equal(isAvailable(it, nowMs), true);
      assert.equal(connectSucceeded(it, nowMs), false);
      assert.equal(connectFailed(it, false, nowMs + 30_000, middle), 1000);
    }
  });

  test("that fails again within half a minute of its success is ejected for longer each time", () => {
    const it = endpoint();
    const times: number[] = [];
    for (let i = 0; i < 6; i++) {
      const nowMs = it.ejectedUntilMs;
      assert.equal(connectBegan(it, nowMs), i > 0);
      connectSucceeded(it, nowMs);
      times.push(connectFailed(it, false, nowMs + 1, middle));
    }
    assert.deepEqual(times, [1000, 2000, 4000, 8000, 16000, 30000]);
  });

  test("is probed by the next connection when the client of the probe went away", () => {
    const it = endpoint();
    connectFailed(it, false, 0, middle);
    connectBegan(it, 1000);
    probeAbandoned(it);
    assert.equal(connectBegan(it, 1000), true);
  });
});
