// Which connections between pods of the node are looked at, and what is remembered of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ProxiedPod } from "../../../src/proxy/proxied-pod.ts";
import { SameNode } from "../../../src/proxy/same-node.ts";
import type { Fd } from "../../../src/runtime/native.ts";

function pod(id: number): ProxiedPod {
  return { id, name: `default/pod-${id}`, netns: (100 + id) as Fd, keepsSources: true };
}

test("a pair is one object per direction and family, of captured pods only, and never of a pod with itself", () => {
  const sameNode = new SameNode();
  const [a, b] = [pod(0), pod(4095)];
  assert.equal(sameNode.pair(a, b.name, 4), undefined, "not captured yet");
  sameNode.add(a);
  sameNode.add(b);
  assert.equal(sameNode.pair(a, a.name, 4), undefined);
  assert.equal(sameNode.pair(a, "default/elsewhere", 4), undefined);
  const pairs = [sameNode.pair(a, b.name, 4), sameNode.pair(a, b.name, 6), sameNode.pair(b, a.name, 4)];
  assert.equal(new Set(pairs).size, 3);
  assert.deepEqual(pairs, [sameNode.pair(a, b.name, 4), sameNode.pair(a, b.name, 6), sameNode.pair(b, a.name, 4)]);
  assert.ok(pairs.every((pair) => pair?.sources === "unknown"));
});

test("what was learned of a pair ends with either of its pods: another pod may get the number", () => {
  for (const leaver of [0, 1]) {
    const sameNode = new SameNode();
    const pods = [pod(0), pod(1), pod(2)];
    for (const each of pods) sameNode.add(each);
    const pair = sameNode.pair(pods[0]!, pods[1]!.name, 4)!;
    const other = sameNode.pair(pods[2]!, pods[1 - leaver]!.name, 4)!;
    pair.sources = other.sources = "rewritten";
    sameNode.remove(pods[leaver]!);
    assert.equal(pair.isOver, true);
    const successor = { ...pods[leaver]!, name: "default/successor" };
    sameNode.add(successor);
    const [client, server] = leaver === 0 ? [successor, pods[1]!] : [pods[0]!, successor];
    assert.equal(sameNode.pair(client, server.name, 4)?.sources, "unknown");
    assert.equal(other.isOver, false, "a pair without it stays");
    assert.equal(sameNode.pair(pods[2]!, pods[1 - leaver]!.name, 4)?.sources, "rewritten");
  }
});
