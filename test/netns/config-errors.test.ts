// A wrong mesh.yaml is refused before anything is captured, with the place of every mistake.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Mesh } from "./harness/mesh.ts";

test("mistakes in mesh.yaml are told with line and column, all at once, and exit code 1", async () => {
  await using mesh = await Mesh.start();
  const meshFile = `${mesh.directory}/wrong.yaml`;
  writeFileSync(
    meshFile,
    `node:
  name: a
  cgroups: { pods: ${mesh.cgroup} }
workloads:
  - name: web-1
    node: a
    addresses: [10.244.0.300]
services:
  - name: web
    addresses: [10.96.0.10]
    ports: [{ port: 80 }]
    endpoints: [web-1, web-2]
`,
  );
  const culvert = await mesh.node("a").startCulvert({ meshFile });
  assert.deepEqual(await culvert.exited(), { code: 1, signal: null });
  const output = `${culvert.stderr}\n${culvert.lastWords}`;
  assert.match(output, /7:17.*10\.244\.0\.300/);
  assert.match(output, /12:24.*web-2/);
});

test("a mesh.yaml that is not there is told by its path, and exit code 1", async () => {
  await using mesh = await Mesh.start();
  const culvert = await mesh.node("a").startCulvert({ meshFile: "/nowhere/mesh.yaml" });
  assert.equal((await culvert.exited()).code, 1);
  assert.match(`${culvert.stderr}\n${culvert.lastWords}`, /\/nowhere\/mesh\.yaml/);
});

test("a misspelt node, so that no workload is this node's, is told by the log at start and reload, by check and by validate", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("worker");
  node.pod("web");
  await mesh.up();
  const right = readFileSync(node.writeMesh(), "utf8");
  const misspelt = right.replaceAll("node: worker", "node: wroker");
  assert.notEqual(misspelt, right);
  writeFileSync(node.meshFile, misspelt);
  const says =
    /no workload is on node worker, so it has no pods: the workloads are on wroker(; |\n *→ )did you mean wroker\?/;
  const validated = await node.command(["config", "validate", node.meshFile]);
  assert.equal(validated.code, 0);
  assert.match(validated.stdout, /node worker has 0 pods\nwarning: /);
  assert.match(validated.stdout, says);
  const json = JSON.parse((await node.command(["config", "validate", node.meshFile, "-o", "json"])).stdout);
  assert.deepEqual([json.valid, json.warnings.length], [true, 1]);
  assert.match((await node.command(["check", "-c", node.meshFile])).stdout, says);

  const culvert = await node.startCulvert({ meshFile: node.meshFile });
  await culvert.ready();
  const warnings = () => culvert.log.items.filter(({ level, msg }) => level === "warn" && says.test(msg)).length;
  assert.equal(warnings(), 1);
  assert.match((await node.command(["check"])).stdout, says);
  await culvert.reloaded(() => writeFileSync(node.meshFile, right));
  assert.equal(warnings(), 1);
  assert.doesNotMatch((await node.command(["config", "validate", node.meshFile])).stdout, /warning/);
  await culvert.reloaded(() => writeFileSync(node.meshFile, misspelt));
  assert.equal(warnings(), 2);
  await culvert.terminate();
});
