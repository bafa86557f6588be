// Culvert may die; the applications must hardly notice, and nothing of it may stay.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { echo, nginx } from "./harness/applications.ts";
import { EndlessChurn } from "./harness/churn.ts";
import { Mesh } from "./harness/mesh.ts";
import { tool } from "./harness/tools.ts";

test("killed with -9 under load, new connections succeed at once; restarted, they are captured again", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const endpoints = ["one", "two", "three"].map((name) => node.pod(name).serve(echo(7000)));
  const service = mesh.service("echo", { port: 7000, endpoints });
  const culvert = await node.culvert();

  const load = await EndlessChurn.start(client, service.ipv4, 7000);
  await culvert.connections(500);
  await culvert.kill();
  await load.nextPhase(); // All that is counted from here began after the proxy was gone.
  const { succeeded } = { succeeded: await client.run(await tool("churn"), service.ipv4, "7000", "500", "8") };
  assert.match(succeeded, /"succeeded":500,"direct":500,"failed":\{\}/);
  await load.nextPhase();
  const restarted = await node.culvert();
  await load.nextPhase();
  await restarted.connections(500);
  const [under, without, starting, captured] = await load.stop();

  t.diagnostic(JSON.stringify({ under, without, starting, captured }));
  assert.deepEqual(without!.failed, {}, "without a proxy");
  assert.deepEqual(starting!.failed, {}, "while it starts");
  assert.deepEqual(captured!.failed, {}, "captured again");
  assert.ok(without!.succeeded > 0 && captured!.succeeded >= 500);
  const cut = Object.values(under!.failed).reduce((sum, count) => sum + count, 0);
  assert.ok(cut <= 64, `${cut} connections failed that were open when it was killed; the client has 16 at a time`);
});

test("killed with -9 and uninstalled, nothing of it is left in namespaces, cgroups and the kernel", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web").serve(nginx())] });
  const culvert = await node.culvert();
  await client.run("curl", "-sS", `http://${web.ipv4}/`);
  assert.ok(client.namespace.listeningPorts().has(15001));
  const held = heldBpfObjects(culvert.pid);
  assert.ok(held.links.length > 0 && held.maps.length > 0 && held.programs.length > 0);

  await culvert.kill();
  assert.deepEqual([...client.namespace.listeningPorts()], []);
  assert.deepEqual(await node.uninstall().then(({ code, stderr }) => ({ code, stderr })), { code: 0, stderr: "" });
  const objects = async () => {
    const existing = JSON.parse(execFileSync(await tool("bpf-objects"), { encoding: "utf8" })) as typeof held;
    return (["links", "maps", "programs"] as const).flatMap((kind) =>
      held[kind].filter((id) => existing[kind].includes(id)).map((id) => `${kind} ${id}`),
    );
  };
  // The kernel lets go of them in its own time, a few milliseconds after the process.
  const deadline = performance.now() + 5000;
  while ((await objects()).length > 0 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await objects(), []);
  await (await node.culvert()).terminate();
  assert.deepEqual(listenersOf(mesh), []);
  assert.deepEqual(
    globSync(`${mesh.cgroup}/a/proxy/cgroup.procs`).flatMap((file) =>
      readFileSync(file, "utf8").trim().split("\n").filter(Boolean),
    ),
    [],
  );

  function listenersOf(of: Mesh): number[] {
    return of.node("a").pods.flatMap((pod) => [...pod.namespace.listeningPorts()].filter((port) => port > 15000));
  }
});

test("a worker that throws ends the process with its error in the log, and connections fall back at once", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web").serve(nginx())] });
  const culvert = await node.culvert({ workers: 2, env: { CULVERT_TEST_THROW: "1", NODE_ENV: "test" } });
  const ended = culvert.exited();

  // Which worker accepts is the kernel's choice.
  let attempts = 0;
  for (; attempts < 200 && !culvert.hasExited; attempts++) {
    await client.attempt("curl", "-sS", "--max-time", "5", `http://${web.ipv4}/`);
  }
  assert.deepEqual(await ended, { code: 1, signal: null });
  const fatal = await culvert.log.find("fatal", ({ msg }) => msg === "worker failed");
  assert.equal(fatal.level, "fatal");
  assert.match(JSON.stringify(fatal), /CULVERT_TEST_THROW/);
  assert.match((fatal as { err?: { stack?: string } }).err?.stack ?? "", /at .*src\/.*\.ts:\d+/);
  assert.match(await client.run("curl", "-sS", `http://${web.ipv4}/`), /^web /);
});

/** By id, as /proc tells. */
function heldBpfObjects(pid: number): { links: number[]; maps: number[]; programs: number[] } {
  const infos = globSync(`/proc/${pid}/fdinfo/*`).map((file) => (existsSync(file) ? readFileSync(file, "utf8") : ""));
  const ids = (key: string) =>
    infos.flatMap((info) => new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(info)?.[1] ?? []).map(Number);
  return { links: ids("link_id"), maps: ids("map_id"), programs: ids("prog_id") };
}
