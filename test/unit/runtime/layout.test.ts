// src/runtime/layout.ts repeats native/reactor/layout.h: here is what keeps them the same.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as layout from "../../../src/runtime/layout.ts";

const header = readFileSync(new URL("../../../native/reactor/layout.h", import.meta.url), "utf8");

function constantOf(name: string): number {
  const value = new RegExp(`constexpr int(?:32_t)? ${name} = ([0-9* ]+);`).exec(header)?.[1];
  assert.ok(value, `${name} is in layout.h`);
  return value.split("*").reduce((product, factor) => product * Number(factor), 1);
}

function enumOf(name: string): Record<string, number> {
  const body = new RegExp(`enum class ${name} : int32_t \\{(.*?)\\};`, "s").exec(header)?.[1];
  assert.ok(body, `enum ${name} is in layout.h`);
  const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
  return Object.fromEntries(
    [...body.matchAll(/k(\w+) = (\d+)/g)].map(([, key, value]) => [lowerFirst(key!), Number(value)]),
  );
}

test("sizes are the same in TypeScript and C++", () => {
  assert.equal(layout.blockBytes, constantOf("kBlockBytes"));
  assert.equal(layout.recordWords, constantOf("kRecordWords"));
  assert.equal(layout.eventRecords, constantOf("kEventRecords"));
  assert.equal(layout.commandRecords, constantOf("kCommandRecords"));
  assert.equal(layout.filledWord, constantOf("kFilledWord"));
  assert.equal(layout.maxConnections, constantOf("kMaxConnections"));
  assert.equal(layout.acceptedRecords, constantOf("kAcceptedRecords"));
  assert.equal(layout.connectRecords, constantOf("kConnectRecords"));
  assert.equal(layout.acceptedHasOriginal, constantOf("kAcceptedHasOriginal"));
  assert.equal(layout.connectTransparent, constantOf("kConnectTransparent"));
  const stats = /enum Stat : int \{(.*?)kStatCount/s.exec(header)?.[1]?.match(/kStat\w+/g);
  assert.equal(layout.statCount, stats?.length);
});

test("the mark of kept sources is the same in TypeScript and C++", () => {
  const routing = readFileSync(new URL("../../../native/netns/source_routing.h", import.meta.url), "utf8");
  assert.equal(layout.sourceMark, Number(/kSourceMark = (0x[0-9a-f]+);/.exec(routing)?.[1]));
});

test("events and commands have the same numbers in TypeScript and C++", () => {
  assert.deepEqual({ ...layout.event }, enumOf("Event"));
  assert.deepEqual({ ...layout.command }, enumOf("Command"));
  assert.deepEqual({ ...layout.passage }, enumOf("Passage"));
  assert.deepEqual({ ...layout.tlsFailure }, enumOf("TlsFailure"));
});
