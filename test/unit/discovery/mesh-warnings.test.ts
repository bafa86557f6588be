import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseMesh } from "../../../src/discovery/file-source.ts";
import { meshWarnings } from "../../../src/discovery/mesh-warnings.ts";

function warningsOf(workloadsOn: readonly string[], rest = ""): string[] {
  const workloads = workloadsOn.map(
    (node, i) => `  - { name: w-${i}, node: ${node}, addresses: [10.244.0.${i + 1}] }\n`,
  );
  const text = `node: { name: node-1, cgroups: { pods: /sys/fs/cgroup/pods } }\n${workloads.length > 0 ? "workloads:\n" : ""}`;
  return meshWarnings(parseMesh(`${text}${workloads.join("")}${rest}`, "mesh.yaml")).map((it) => it.message + it.fix);
}

describe("a valid mesh.yaml that is hardly meant", () => {
  test("has no workload on its node: which node they are on is told, and which was meant", () => {
    const [warning] = warningsOf(["node1", "east"]);
    assert.match(warning!, /no workload is on node node-1, .* are on node1, eastdid you mean node1\?$/);
    const [far] = warningsOf(["a", "b", "c", "d", "e", "f", "g"]);
    assert.match(far!, /are on a, b, c, d, e and 2 morecorrect node\.name, or node of the workloads$/);
  });

  test("is none without workloads, with one of its own, or where nodes lists the node", () => {
    assert.deepEqual(warningsOf([]), []);
    assert.deepEqual(warningsOf(["east", "node-1"]), []);
    assert.deepEqual(warningsOf(["east"], "nodes: [{ name: node-1 }, { name: east }]\n"), []);
    assert.equal(warningsOf(["east"], "nodes: [{ name: east }]\n").length, 1, "then its name may be misspelt");
  });
});
