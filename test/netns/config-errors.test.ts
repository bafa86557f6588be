// A wrong mesh.yaml is refused before anything is captured, with the place of every mistake.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
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
