import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCidr } from "../../../src/mesh/address.ts";
import { KeptSources } from "../../../src/mesh/kept-sources.ts";
import { MeshIndex } from "../../../src/mesh/mesh-index.ts";
import { at, snapshot, workload } from "./fixtures.ts";

const index = MeshIndex.of(
  snapshot(
    [workload("vm", ["192.0.2.7", "2001:db8::7"], { node: "b" }), workload("agent", ["192.0.2.1"], { node: "b" })],
    [],
  ),
);
const sources = new KeptSources(
  [parseCidr("10.244.0.0/16")!, parseCidr("fd00:244::/48")!, parseCidr("10.9.8.128/25")!],
  ["10.244.1.1", "fd00:244::1", "192.0.2.1"].map(at),
);

for (const [text, isKept, why] of [
  ["10.244.9.9", true, "in a pod CIDR"],
  ["10.245.0.1", false, "beside it"],
  ["10.9.8.200", true, "in one whose prefix ends within a byte"],
  ["10.9.8.127", false, "just below that"],
  ["fd00:244:0:1::5", true, "in an IPv6 pod CIDR"],
  ["fd00:245::5", false, "beside it"],
  ["10.244.1.1", false, "a node's address in a pod CIDR"],
  ["fd00:244::1", false, "a node's IPv6 address in a pod CIDR"],
  ["192.0.2.7", true, "a workload outside of every pod CIDR"],
  ["2001:db8::7", true, "its IPv6 address"],
  ["192.0.2.1", false, "a workload in its node's own network"],
  ["203.0.113.1", false, "nobody the mesh knows"],
] as const) {
  test(`the address of ${text} is ${isKept ? "kept" : "not kept"}: ${why}`, () => {
    const [w0, w1, w2, w3] = at(text).words;
    assert.equal(sources.keeps(index, w0, w1, w2, w3), isKept);
    assert.equal(sources.keeps(index, w0 | 0, w1 | 0, w2 | 0, w3 | 0), isKept, "signed words");
  });
}
