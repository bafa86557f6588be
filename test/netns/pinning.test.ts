// What stays in force when Culvert is gone, and how the next one, or nobody, takes it over.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { otherObjects } from "../kernel/lab/other-objects.ts";
import { echo } from "./harness/applications.ts";
import { EndlessChurn } from "./harness/churn.ts";
import { Mesh } from "./harness/mesh.ts";
import type { MeshNode } from "./harness/mesh-node.ts";
import type { Pod, PodOptions } from "./harness/pod.ts";
import type { Service } from "./harness/service.ts";
import { tool } from "./harness/tools.ts";

interface Declared {
  readonly node: MeshNode;
  readonly client: Pod;
  readonly server: Pod;
  readonly service: Service;
}

function declare(mesh: Mesh, options: PodOptions = {}): Declared {
  const node = mesh.node("a");
  const client = node.pod("client", options);
  const server = node.pod("server", options).serve(echo(7000));
  const service = mesh.service("echo", { port: 7000, endpoints: [server] });
  return { node, client, server, service };
}

for (const isOther of [false, true]) {
  const what = isOther ? "replaced by another version under load" : "killed with -9 under load and started again";
  test(`${what}: after "ready" capture misses no connect, and direct connections from before live on`, async () => {
    await using mesh = await Mesh.start();
    const { node, client, server, service } = declare(mesh);
    const first = await node.culvert();
    const load = await EndlessChurn.start(client, service.ipv4, 7000);
    await first.connections(300);
    await first.kill();
    await load.nextPhase();
    const listener = await server.listen(7001);
    const direct = await (await client.socket()).connect(server.ipv4, 7001);
    await listener.accept();

    const env = { NODE_ENV: "test", ...(isOther && { CULVERT_TEST_BPF: otherObjects("oneMapMore") }) };
    const second = await node.culvert({ env });
    await load.nextPhase();
    await second.connections(1000);
    await direct.send("still there");
    assert.equal(await listener.receive(11), "still there");
    await listener.send("yes");
    assert.equal(await direct.receive(3), "yes");
    const [, without, captured] = await load.stop();

    assert.deepEqual(without!.failed, {}, "while it was gone and started");
    assert.deepEqual(captured!.failed, {}, "captured again");
    assert.ok(without!.direct > 0 && captured!.succeeded >= 500);
    assert.equal(captured!.direct, 0);
    const found = second.log.items.find(({ msg }) =>
      (isOther ? /another version in force/ : /what a process before left/).test(msg),
    );
    assert.ok(found !== undefined, "it says what it found");
    assert.equal(readdirSync(node.pins).length, 1, "one layout is left");
    assert.deepEqual(await second.terminate(), { code: 0, signal: null });
    assert.equal(existsSync(dirname(node.pins)), false);
  });
}

test("after SIGTERM without strict pods nothing is left: no pin, link, map or program", async () => {
  await using mesh = await Mesh.start();
  const { node, client, service } = declare(mesh);
  const culvert = await node.culvert();
  const held = heldBpfObjects(culvert.pid);
  assert.ok(held.size > 20);
  assert.ok(existsSync(node.pins));
  await client.run(await tool("churn"), service.ipv4, "7000", "10", "1");
  assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
  assert.equal(existsSync(dirname(node.pins)), false);
  await untilEmpty(async () => (await bpfObjects()).filter((object) => held.has(object)));
});

test("after SIGTERM strict pods stay closed, which the log says; culvert uninstall opens them and removes every trace", async () => {
  await using mesh = await Mesh.start();
  const { node, client, service } = declare(mesh, { whenProxyDown: "deny" });
  const culvert = await node.culvert();
  assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
  const told = culvert.log.items.find(({ msg }) => /strict pods stay closed/.test(msg));
  assert.match(told?.msg ?? "", /culvert uninstall opens them/);
  const dial = async () => (await client.attempt(await tool("churn"), service.ipv4, "7000", "1", "1")).stdout;
  assert.match(await dial(), /"EPERM":1/);

  const { code, stdout } = await node.uninstall();
  assert.match(stdout, new RegExp(`removed ${node.pins}: \\d+ links and \\d+ maps of 1 versions`));
  assert.equal(code, 0);
  assert.match(await dial(), /"succeeded":1/);
  assert.equal(existsSync(dirname(node.pins)), false);
  assert.match((await node.uninstall()).stdout, /nothing of Culvert is pinned/);
});

test("a worker that throws ends the process as a kill does: pods pass or, if they are strict, fail, until the next start", async () => {
  await using mesh = await Mesh.start();
  const { node, client, service } = declare(mesh, { whenProxyDown: "deny" });
  const culvert = await node.culvert({ workers: 1, env: { CULVERT_TEST_THROW: "0", NODE_ENV: "test" } });
  const ended = culvert.exited();
  const dial = async () => (await client.attempt(await tool("churn"), service.ipv4, "7000", "1", "1")).stdout;
  await dial();
  assert.deepEqual(await ended, { code: 1, signal: null });
  assert.match(await dial(), /"EPERM":1/);
  const next = await node.culvert();
  assert.match(await dial(), /"succeeded":1,"direct":0/);
  await next.terminate();
});

test("a second SIGTERM leaves nothing behind either", async () => {
  await using mesh = await Mesh.start();
  const { node, client, server, service } = declare(mesh);
  const listener = await server.listen(7001);
  const culvert = await node.culvert({ drainTimeoutSeconds: 60 });
  const open = await (await client.socket()).connect(server.ipv4, 7001);
  await listener.accept();
  const ended = culvert.exited();
  culvert.signal("SIGTERM");
  await culvert.log.find("draining", ({ msg }) => msg === "draining");
  culvert.signal("SIGTERM");
  assert.deepEqual(await ended, { code: 1, signal: null });
  await open.ending();
  assert.equal(existsSync(dirname(node.pins)), false);
  assert.match(await client.run(await tool("churn"), service.ipv4, "7000", "1", "1"), /"succeeded":1,"direct":1/);
});

test("two instances on one node: the second is refused and told the first's process and mesh file; a dead one blocks nobody", async () => {
  await using mesh = await Mesh.start();
  const { node, client, service } = declare(mesh);
  const first = await node.culvert();
  const second = await node.startCulvert();
  assert.deepEqual(await second.exited(), { code: 1, signal: null });
  assert.match(
    second.stderr,
    new RegExp(`process ${first.pid} \\(.* node --config .*/a\\.yaml, in /.*stop that one first`),
  );
  assert.match(await client.run(await tool("churn"), service.ipv4, "7000", "10", "1"), /"succeeded":10,"direct":0/);

  const { code, stdout } = await node.uninstall();
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`process ${first.pid} `));
  await first.kill();
  await (await node.culvert()).terminate();
});

test("pins of a Culvert that does not run are told when another starts, and uninstall removes them", async () => {
  await using mesh = await Mesh.start();
  const [node, other] = [mesh.node("a"), mesh.node("b")];
  for (const each of [node, other]) each.pod(`of-${each.name}`);
  await (await other.culvert()).kill();
  const culvert = await node.culvert();
  const told = culvert.log.items.find(({ msg }) => /stale pins/.test(msg));
  assert.deepEqual([told?.level, told?.pins], ["warn", other.pins]);
  assert.match(told!.msg, /culvert uninstall removes them/);

  const { code, stdout } = await other.uninstall("--pins", dirname(node.pins));
  assert.equal(code, 1, "what runs is left alone");
  assert.match(stdout, new RegExp(`take ${node.pins}: process ${culvert.pid} .*\\n.*removed ${other.pins}: `));
  assert.deepEqual(readdirSync(dirname(node.pins)), ["a"]);
  await culvert.terminate();
});

/** "links 12", "maps 7", …: all of this machine. */
async function bpfObjects(): Promise<string[]> {
  const all = JSON.parse(execFileSync(await tool("bpf-objects"), { encoding: "utf8" })) as Record<string, number[]>;
  return Object.entries(all).flatMap(([kind, ids]) => ids.map((id) => `${kind} ${id}`));
}

function heldBpfObjects(pid: number): ReadonlySet<string> {
  const infos = globSync(`/proc/${pid}/fdinfo/*`).map((file) => (existsSync(file) ? readFileSync(file, "utf8") : ""));
  return new Set(
    infos.flatMap((info) => {
      const [, kind, id] = /^(link|map|prog)_id:\s+(\d+)/m.exec(info) ?? [];
      return kind === undefined ? [] : `${kind === "prog" ? "programs" : `${kind}s`} ${id}`;
    }),
  );
}

/** The kernel lets go of things in its own time, a few milliseconds later. */
async function untilEmpty(list: () => Promise<readonly string[]>): Promise<void> {
  const deadline = performance.now() + 5000;
  while ((await list()).length > 0 && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await list(), []);
}
