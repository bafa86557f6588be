import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  createCounters,
  directions,
  endpointEvents,
  flows,
  protocolDecisions,
  results,
  seenAs,
  sumCounters,
  WorkerCounters,
} from "../../../src/telemetry/counters.ts";

test("the sum over all workers is what was counted, each kind by itself", () => {
  const direction = fc.constantFrom(...directions);
  const event = fc.oneof(
    fc.record({ kind: fc.constant("opened" as const), direction }),
    fc.record({ kind: fc.constant("closed" as const), direction, result: fc.constantFrom(...results) }),
    fc.record({
      kind: fc.constant("bytes" as const),
      direction,
      flow: fc.constantFrom(...flows),
      count: fc.nat(2 ** 31 - 1),
    }),
    fc.record({
      kind: fc.constant("protocol" as const),
      direction,
      decision: fc.constantFrom(...protocolDecisions),
    }),
    fc.record({ kind: fc.constant("endpoint" as const), event: fc.constantFrom(...endpointEvents) }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2), event), { size: "large" }), (events) => {
      const counters = createCounters(3);
      const workers = [0, 1, 2].map((worker) => new WorkerCounters(counters, worker));
      const expected = new Map<string, number>();
      for (const [worker, it] of events) {
        const count = it.kind === "bytes" ? it.count : 1;
        if (it.kind === "opened") workers[worker]!.opened(it.direction);
        else if (it.kind === "closed") workers[worker]!.closed(it.direction, it.result);
        else if (it.kind === "bytes") workers[worker]!.bytes(it.direction, it.flow, it.count);
        else if (it.kind === "endpoint") workers[worker]!.endpoint(it.event);
        else workers[worker]!.protocol(it.direction, it.decision.protocol, it.decision.by);
        const which = it.kind === "endpoint" ? it.event : it.direction;
        const decision = "decision" in it ? `${it.decision.protocol} ${it.decision.by}` : "";
        const key = [it.kind, which, "result" in it ? it.result : "flow" in it ? it.flow : decision].join(" ");
        expected.set(key, (expected.get(key) ?? 0) + count);
      }
      const totals = sumCounters(counters, 3);
      for (const it of endpointEvents) assert.equal(totals.endpoints[it], expected.get(`endpoint ${it} `) ?? 0);
      for (const direction of directions) {
        const opened = expected.get(`opened ${direction} `) ?? 0;
        const closed = results.map((result) => expected.get(`closed ${direction} ${result}`) ?? 0);
        assert.equal(totals.opened[direction], opened);
        assert.deepEqual(Object.values(totals.closed[direction]), closed);
        // More closed than opened is what a scrape may see for a moment.
        assert.equal(totals.open[direction], Math.max(opened - closed.reduce((sum, n) => sum + n, 0), 0));
        for (const [i, { protocol, by }] of protocolDecisions.entries()) {
          assert.equal(totals.protocols[direction][i], expected.get(`protocol ${direction} ${protocol} ${by}`) ?? 0);
        }
        for (const flow of flows) {
          assert.equal(totals.bytes[direction][flow], expected.get(`bytes ${direction} ${flow}`) ?? 0);
        }
      }
    }),
  );
});

test("bytes are counted exactly far beyond 32 bits", () => {
  const counters = createCounters(1);
  const worker = new WorkerCounters(counters, 0);
  worker.bytes("inbound", "received", 2 ** 52);
  worker.bytes("inbound", "received", 1);
  assert.equal(sumCounters(counters, 1).bytes.inbound.received, 2 ** 52 + 1);
});

test("each way of being seen is counted by itself, over all workers", () => {
  const counters = createCounters(2);
  for (const [i, how] of seenAs.entries()) {
    for (let n = 0; n <= i; n++) new WorkerCounters(counters, n % 2).seenAs(how);
  }
  assert.deepEqual(sumCounters(counters, 2).seenAs, { client: 1, pod: 2, pod_after_retry: 3 });
});

test("workers write to cache lines of their own", () => {
  const rowBytes = createCounters(2).byteLength / 2;
  assert.equal(rowBytes % 128, 0);
});
