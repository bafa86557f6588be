import assert from "node:assert/strict";
import { test } from "node:test";
import { answer } from "../../../src/proxy/answer.ts";
import type { OpenStream, ProxyContext } from "../../../src/proxy/context.ts";
import type { Parts } from "../../../src/proxy/questions.ts";
import type { OpenConnection } from "../../../src/telemetry/reports.ts";

function stream(number: number): OpenStream {
  const direction = number % 2 === 0 ? "outbound" : "inbound";
  const described: OpenConnection = {
    direction,
    pod: "default/web",
    source: `10.0.0.1:${number}`,
    destination: "10.0.0.2:80",
    transport: "local",
    protocol: "opaque",
    protocolBy: undefined,
    bytesSent: 0,
    bytesReceived: 0,
    durationMs: 0,
    state: "open",
  };
  return {
    pod: undefined as never,
    matches: (filter) => filter.direction === undefined || filter.direction === direction,
    describe: () => described,
    abort: () => {},
  };
}

/** All that an answer about connections reads. */
function contextOf(streams: Set<OpenStream>): ProxyContext {
  return { streams } as unknown as ProxyContext;
}

/** All parts as one, and how many connections the largest has. */
async function ask(streams: Set<OpenStream>, limit: number, filter = {}) {
  const whole = { open: 0, matching: 0, connections: [] as OpenConnection[], largest: 0 };
  for await (const part of answer(contextOf(streams), { about: "connections", filter, limit })) {
    const { open, matching, connections } = part as Parts["connections"];
    whole.open += open;
    whole.matching += matching;
    whole.connections.push(...connections);
    whole.largest = Math.max(whole.largest, connections.length);
  }
  return whole;
}

test("a worker goes through its connections a slice at a time, and serves what comes in between", async () => {
  const streams = new Set(Array.from({ length: 10_000 }, (_, i) => stream(i)));
  let turns = 0;
  const count = () => {
    turns++;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  const { open, matching, connections, largest } = await ask(streams, 4000, { direction: "inbound" });
  clearImmediate(immediate);
  assert.deepEqual([open, matching, connections.length], [10_000, 5000, 4000]);
  assert.ok(largest <= 500);
  assert.ok(turns >= 19, `${turns} turns for 20 slices of 500`);
});

test("connections that end and begin meanwhile neither confuse nor prolong an answer", async () => {
  const streams = new Set(Array.from({ length: 2000 }, (_, i) => stream(i)));
  const asked = ask(streams, 10_000);
  let next = 2000;
  const churn = () => {
    streams.delete(streams.values().next().value!);
    for (let i = 0; i < 1000; i++) streams.add(stream(next++));
    immediate = setImmediate(churn);
  };
  let immediate = setImmediate(churn);
  const { open, connections } = await asked;
  clearImmediate(immediate);
  assert.equal(open, 2000);
  assert.ok(connections.length <= 2000);
});

test("text is looked for in what a connection is described as", async () => {
  const streams = new Set([stream(7), stream(8)]);
  const { connections } = await ask(streams, 10, { text: "10.0.0.1:8" });
  assert.deepEqual(
    connections.map(({ source }) => source),
    ["10.0.0.1:8"],
  );
});
