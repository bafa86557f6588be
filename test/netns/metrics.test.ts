import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { Mesh } from "./harness/mesh.ts";
import { projectRoot, tool } from "./harness/tools.ts";

test("promtool finds nothing to object to in the metrics of a node that carries traffic", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
  const culvert = await node.culvert();
  await client.run(await tool("dial-as"), "tcp", service.ipv6, "7000");
  await culvert.connections(1);
  const { body } = await culvert.get("/metrics");
  const { promise, resolve } = Promise.withResolvers<{ failed: boolean; output: string }>();
  const promtool = execFile(
    join(projectRoot, "build/tools/promtool"),
    ["check", "metrics"],
    (error, stdout, stderr) => {
      resolve({ failed: error !== null, output: stdout + stderr });
    },
  );
  promtool.stdin!.end(body);
  assert.deepEqual(await promise, { failed: false, output: "" });
});
