import assert from "node:assert/strict";
import { test } from "node:test";
import { EventRing } from "../../../src/telemetry/event-ring.ts";
import { NodeLog } from "../../../src/telemetry/log.ts";

const line = (number: number) =>
  `{"level":"info","time":"2026-01-01T00:00:00.000Z","number":${number},"msg":"happened"}\n`;

test("the ring keeps the latest lines, oldest first, and no more than it holds", () => {
  const ring = new EventRing(3);
  for (let i = 0; i < 5; i++) ring.add(line(i));
  assert.deepEqual(
    ring.latest(10).map(({ details }) => details.number),
    [2, 3, 4],
  );
  assert.deepEqual(ring.latest(1), [
    { time: "2026-01-01T00:00:00.000Z", level: "info", event: "happened", details: { number: 4 } },
  ]);
  assert.deepEqual(new EventRing(3).latest(10), []);
});

test("a line without bound is kept with a bound, and is still an event", () => {
  const ring = new EventRing(3);
  ring.add(`${JSON.stringify({ level: "error", time: "t", err: { stack: "x".repeat(100_000) }, msg: "failed" })}\n`);
  const [event] = ring.latest(1);
  assert.deepEqual([event!.event, event!.level], ["failed", "error"]);
  assert.ok(JSON.stringify(event).length < 5000);
});

test("the log goes by its level, which can change, and the events by their own", () => {
  const written: string[] = [];
  const log = new NodeLog("error", { write: (lines) => void written.push(lines), flushed: async () => {} });
  const said = () => written.splice(0).map((it) => JSON.parse(it).msg);
  log.logger.debug("a");
  log.logger.info("b");
  log.logger.error("c");
  assert.deepEqual(said(), ["c"]);
  log.level = "debug";
  log.logger.debug("d");
  log.logger.info("e");
  assert.deepEqual(said(), ["d", "e"]);
  log.level = "warn";
  log.logger.debug("f");
  log.logger.info("g");
  log.logger.warn("h");
  assert.deepEqual(said(), ["h"]);
  assert.deepEqual(
    log.events.latest(10).map(({ event }) => event),
    ["b", "c", "e", "g", "h"],
  );
});
