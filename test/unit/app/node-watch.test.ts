// What the watch says of workers and resources, its clock and the node's numbers in the test's hands.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { liveness } from "../../../src/app/introspection/health.ts";
import type { NodeView } from "../../../src/app/introspection/node-view.ts";
import { watchNode } from "../../../src/app/introspection/node-watch.ts";
import { sizes } from "../../../src/kernel/layout.ts";
import { createCounters, WorkerCounters } from "../../../src/telemetry/counters.ts";
import { NodeLog } from "../../../src/telemetry/log.ts";
import { workerStats } from "../../../src/telemetry/worker-stats.ts";

beforeEach(() => mock.timers.enable({ apis: ["setInterval"] }));

/** A node of two workers, and what its log has said since it was last asked. */
function node() {
  const beats = new BigUint64Array(sizes.heartbeats / 8);
  const log = new NodeLog("error", { write: () => {}, flushed: async () => {} });
  const counters = createCounters(2);
  const stats = [new Float64Array(workerStats.length), new Float64Array(workerStats.length)];
  const view = {
    capture: { maps: { heartbeats: { lookup: () => new Uint8Array(beats.buffer) } } },
    workers: { size: 2 },
    counters,
    stats,
    log,
  } as unknown as NodeView;
  let heard = 0;
  return {
    view,
    counters,
    stats,
    beat: (worker: number, ageMs: number) => {
      beats[worker] = process.hrtime.bigint() - BigInt(ageMs) * 1_000_000n;
    },
    said: () => {
      mock.timers.tick(1000);
      const events = log.events.latest(100).slice(heard);
      heard += events.length;
      return events.map(({ event, details }) => `${event} ${details.worker ?? details.count}`);
    },
  };
}

test("a worker that hangs is told once, and again when it runs", () => {
  const { view, beat, said } = node();
  beat(0, 0);
  beat(1, 0);
  using _watch = disposable(watchNode(view));
  assert.deepEqual(said(), []);
  beat(1, 60_000);
  assert.deepEqual(said(), ["worker hangs; it gets no new connections; restart this node 1"]);
  assert.deepEqual(said(), []);
  beat(1, 0);
  assert.deepEqual(said(), ["worker runs again 1"]);
});

test("resources that ran out are told with how often, and not again until it happens again", () => {
  const { view, counters, stats, beat, said } = node();
  beat(0, 0);
  beat(1, 0);
  using _watch = disposable(watchNode(view));
  const row = new WorkerCounters(counters, 1);
  for (let i = 0; i < 3; i++) row.closed("outbound", "limit");
  stats[0]![workerStats.findIndex(({ stat }) => stat === "StarvedReads")] = 7;
  assert.deepEqual(said().sort(), [
    "connections ended for lack of a port, a descriptor or memory 3",
    "reads were put off: out of blocks 7",
  ]);
  assert.deepEqual(said(), []);
  row.closed("inbound", "limit");
  assert.deepEqual(said(), ["connections ended for lack of a port, a descriptor or memory 1"]);
});

test("a process is not live when a worker hangs or hardly a descriptor is left", () => {
  const worker = { worker: 0, heartbeatAgeMs: 10, isStale: false, openSockets: 0, blocksInUse: 0 };
  const stale = { ...worker, worker: 1, heartbeatAgeMs: 4200, isStale: true };
  assert.deepEqual(liveness([worker], { open: 900, limit: 1000 }), { ok: true, reason: "" });
  assert.match(
    liveness([worker], { open: 937, limit: 1000 }).reason,
    /^out of descriptors: 937 of 1000 are open; raise/,
  );
  assert.equal(liveness([worker, stale], { open: 1, limit: 1000 }).reason, "worker 1 hangs: for 4.2 s it has not run");
  assert.match(liveness([{ ...stale, heartbeatAgeMs: null }], { open: 1, limit: 1000 }).reason, /never said/);
});

function disposable(watch: { stop(): void }): Disposable {
  return {
    [Symbol.dispose]() {
      watch.stop();
      mock.timers.reset();
    },
  };
}
