import assert from "node:assert/strict";
import { test } from "node:test";
import { RewrittenPairs } from "../../../src/app/rewritten-pairs.ts";
import { NodeLog } from "../../../src/telemetry/log.ts";

const names = new Map([
  [1, "default/client"],
  [2, "default/server"],
]);

test("a pair is said once however many workers come upon it, counted by family, and forgotten with either pod", () => {
  const lines: string[] = [];
  const pairs = new RewrittenPairs(
    new NodeLog("info", { write: (text) => void lines.push(text), flushed: async () => {} }).logger,
  );
  const add = (clientId: number, serverId: number, family: 4 | 6) =>
    pairs.add({ clientId, serverId, family }, (id) => names.get(id));
  for (let worker = 0; worker < 3; worker++) add(1, 2, 4);
  add(1, 2, 6);
  add(1, 3, 4); // Pod 3 is being withdrawn.
  assert.deepEqual([pairs.count(4), pairs.count(6)], [1, 1]);
  assert.equal(lines.length, 2);
  assert.match(lines[0]!, /"client":"default\/client","server":"default\/server","family":"IPv4"/);
  pairs.forget(2);
  assert.deepEqual([pairs.count(4), pairs.count(6)], [0, 0]);
  add(1, 2, 4);
  assert.equal(lines.length, 3, "another pod of that number is another pair");
});
