import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ConnectionRecord, formatConnectionLine } from "../../../src/telemetry/access-log.ts";
import { directions, protocolDecisions, results, seenAs } from "../../../src/telemetry/counters.ts";

const record: ConnectionRecord = {
  direction: "outbound",
  pod: "default/client",
  source: "10.244.0.5:40112",
  destination: "10.96.0.10:80",
  service: "default/web:80",
  endpoint: "default/web-1 10.244.0.2:8080",
  transport: "local",
  protocol: "tls",
  protocolBy: "detected",
  sni: "web.example",
  bytesSent: 77,
  bytesReceived: 238,
  durationMs: 3,
  result: "ok",
};

test("a connection is one JSON line with these keys in this order", () => {
  assert.equal(
    formatConnectionLine(record, 0),
    '{"level":"info","time":"1970-01-01T00:00:00.000Z","msg":"connection","direction":"outbound","pod":"default/client",' +
      '"source":"10.244.0.5:40112","destination":"10.96.0.10:80","service":"default/web:80",' +
      '"endpoint":"default/web-1 10.244.0.2:8080","transport":"local","protocol":"tls","protocolBy":"detected","sni":"web.example",' +
      '"bytesSent":77,"bytesReceived":238,"durationMs":3,"result":"ok"}',
  );
});

test("a connection to no service and no endpoint, and without TLS's name, has none of these keys", () => {
  const none = { service: undefined, endpoint: undefined, sni: undefined };
  const parsed = JSON.parse(formatConnectionLine({ ...record, ...none, error: "why" }, 0));
  assert.ok(!("service" in parsed) && !("endpoint" in parsed) && !("sni" in parsed));
  assert.equal(parsed.error, "why");
});

test("the time of a line is what Date says, to the millisecond, in whatever order lines come", () => {
  const time = fc.oneof(fc.integer({ min: 1.7e12, max: 1.7e12 + 3000 }), fc.integer({ min: 0, max: 4e12 }));
  fc.assert(
    fc.property(fc.array(time), (times) => {
      for (const it of times)
        assert.equal(JSON.parse(formatConnectionLine(record, it)).time, new Date(it).toISOString());
    }),
  );
});

test("whatever the strings hold, the line reads back as the record and stays one line", () => {
  const string = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom('"', "\\", "\n", "\u007f", "\u2028", "\ud800", "a") }),
  );
  const records = fc.record({
    direction: fc.constantFrom(...directions),
    pod: string,
    source: string,
    destination: string,
    service: string,
    endpoint: string,
    transport: fc.constantFrom("local" as const, "plain" as const),
    protocol: fc.constantFrom(...protocolDecisions.map((it) => it.protocol)),
    protocolBy: fc.constantFrom(...protocolDecisions.map((it) => it.by)),
    sni: string,
    seenAs: fc.constantFrom(...seenAs),
    bytesSent: fc.maxSafeNat(),
    bytesReceived: fc.maxSafeNat(),
    durationMs: fc.nat(),
    result: fc.constantFrom(...results),
    error: string,
  });
  fc.assert(
    fc.property(records, (it) => {
      const line = formatConnectionLine(it, 0);
      assert.ok(!line.includes("\n"));
      assert.equal(line, JSON.stringify({ level: "info", time: "1970-01-01T00:00:00.000Z", msg: "connection", ...it }));
    }),
  );
});
