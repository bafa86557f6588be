// Each mistake of the corpus, and several at once.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigError, type ConfigProblem } from "../../../src/discovery/config-error.ts";
import { parseMesh } from "../../../src/discovery/file-source.ts";
import { marked, node, nodeWith, wrongConfigurations } from "./wrong-configurations.ts";

function problemsOf(text: string): readonly ConfigProblem[] {
  try {
    parseMesh(text, "mesh.yaml");
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

for (const [title, rows] of Object.entries(wrongConfigurations)) {
  describe(`${title}: the problem is told with its place`, () => {
    for (const [source, path, message] of rows) {
      test(source.trim() === "«»" ? "(nothing)" : source.trim().split("\n").at(-1)!.slice(0, 110), () => {
        const { text, line, column } = marked(source);
        const [problem, ...others] = problemsOf(text);
        assert.ok(problem, "no problem was found");
        assert.deepEqual(others, []);
        assert.match(problem.message, message);
        assert.deepEqual([problem.path, problem.line, problem.column], [path, line, column]);
      });
    }
  });
}

describe("problems in mesh.yaml", () => {
  test("are told all at once, in the order of the file, whether of shape or of reference", () => {
    const text = `noodles: {}
node:
  name: a
  cgroups: { pods: /p }
  workers: many
  one: 1
  two: 2
workloads:
  - { name: w, node: a, addresses: [10.0.0.300, 10.0.0.2] }
  - { name: w, node: a, addresses: [10.0.0.2] }
services:
  - { name: s, addresses: [10.96.0.1], ports: [{ port: http }], endpoints: [nobody] }
`;
    assert.deepEqual(
      problemsOf(text).map((it) => `${it.line}:${it.column} ${it.path}`),
      [
        "1:1 noodles",
        "5:12 node.workers",
        "6:3 node.one",
        "7:3 node.two",
        "9:37 workloads[0].addresses[0]",
        "10:13 workloads[1].name",
        "10:37 workloads[1].addresses[0]",
        "12:56 services[0].ports[0].port",
        "12:77 services[0].endpoints[0]",
      ],
    );
  });

  test("make one message that a person can act on", () => {
    assert.throws(() => parseMesh(nodeWith("workers: 0\n  x: 1"), "/etc/mesh.yaml"), {
      code: "CONFIG_INVALID",
      source: "config",
      message: `load /etc/mesh.yaml: 2 problems; nothing was changed; correct the file and try again
  /etc/mesh.yaml:4:12: node.workers: 0 does not fit here; write a whole number from 1 to 64
  /etc/mesh.yaml:5:3: node.x: is no key known here; write one of name, cgroups, workers, podCidrs, admin, drainTimeoutSeconds, connectTimeoutSeconds, detectTimeoutSeconds, peerTimeoutSeconds, log, pins, unknownPods, plainNamespaces, or nothing`,
    });
  });

  test("are placed in what an alias stands for", () => {
    const text = `${node}workloads:
  - { name: v, node: a, addresses: &bad [10.0.0.1, x] }
  - { name: w, node: a, addresses: [10.0.0.2], capture: *bad }
services:
  - { name: s, addresses: *bad, ports: [{ port: 1 }], endpoints: [v] }
`;
    assert.deepEqual(
      problemsOf(text).map((it) => `${it.line}:${it.column} ${it.path}`),
      [
        "3:42 services[0].addresses[0]",
        "3:52 workloads[0].addresses[1]",
        "3:52 services[0].addresses[1]",
        "4:57 workloads[1].capture",
      ],
    );
  });

  test("include aliases that multiply beyond reason, which are not expanded", () => {
    const levels = Array.from({ length: 12 }, (_, i) => `l${i + 1}: &l${i + 1} [${new Array(9).fill(`*l${i}`)}]`);
    const [problem] = problemsOf(`l0: &l0 [x]\n${levels.join("\n")}\n`);
    assert.match(problem!.message, /alias/i);
  });
});
