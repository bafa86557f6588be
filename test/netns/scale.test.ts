// Many pods, and pods under load.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { EndlessChurn } from "./harness/churn.ts";
import { descriptorCount, holdings } from "./harness/holdings.ts";
import { Mesh } from "./harness/mesh.ts";
import { RunningProcess } from "./harness/running-process.ts";
import { tool } from "./harness/tools.ts";

const podCount = 1000;

test(`${podCount} network namespaces are enrolled; all is given back after withdrawal, and the number of namespaces returns to where it started`, async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  node.pod("client");
  const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
  const holder = await node.process("holder").start(await tool("namespaces"), `${podCount}`);
  const descriptors = JSON.parse(await ask(holder, "make", /^\[/)) as number[];
  const workloads = descriptors.map((fd, n) => ({
    name: `pod-${n}`,
    node: "a",
    addresses: [`10.200.${Math.floor(n / 250)}.${(n % 250) + 1}`, `fd00:200::${(n + 1).toString(16)}`],
    netns: `/proc/${holder.pid}/fd/${fd}`,
  }));
  const few = await node.culvert();
  const baseline = { memory: few.residentBytes(), descriptors: descriptorCount(few) };
  await few.terminate();

  const started = performance.now();
  const culvert = await node.culvert({ workloads });
  const readySeconds = (performance.now() - started) / 1000;
  assert.equal((await culvert.metrics()).sum("culvert_pods_enrolled"), podCount + 2);
  const used = {
    memory: culvert.residentBytes() - baseline.memory,
    descriptors: descriptorCount(culvert) - baseline.descriptors,
  };
  t.diagnostic(`${podCount} pods: ready ${readySeconds.toFixed(2)} s after the start`);
  t.diagnostic(
    `per pod: ${Math.round(used.memory / podCount / 1024)} KiB resident, ${used.descriptors / podCount} descriptors`,
  );
  // A few are nobody's in particular: a request to the admin socket, say.
  assert.ok(used.descriptors <= 5 * podCount + 16, `${used.descriptors} descriptors`);
  for (const n of [0, podCount / 2, podCount - 1]) {
    // Nothing but loopback is there: what is captured is reset when the proxy finds no way on, what is not fails at once.
    for (const address of [service.ipv4, service.ipv6]) {
      const netns = `/proc/${holder.pid}/fd/${descriptors[n]}`;
      const dial = [await tool("churn"), address, "7000", "1", "1"];
      const running = new RunningProcess(`churn in pod-${n}`, dial, { cgroup: node.podsCgroup, netns });
      await running.exited;
    }
  }
  assert.equal((await culvert.metrics()).sum("culvert_capture_total", { reason: "captured_outbound" }), 6);

  let begun = performance.now();
  await ask(holder, "release", /released/);
  await until("all are withdrawn", async () => (await culvert.metrics()).sum("culvert_pods_gone_total") === podCount);
  t.diagnostic(`all gone: withdrawn after ${((performance.now() - begun) / 1000).toFixed(2)} s, all by itself`);
  assert.equal((await culvert.metrics()).sum("culvert_pods_enrolled"), 2);
  assert.equal(holdings(culvert, node.pins).links, 2);
  await until("no namespace is left", async () => (await ask(holder, "any", /none|some/)) === "none");
  assert.ok(descriptorCount(culvert) <= baseline.descriptors + 20, "descriptors are given back");

  begun = performance.now();
  await ask(holder, "make", /^\[/);
  await until("all are enrolled", async () => (await culvert.metrics()).sum("culvert_pods_enrolled") === podCount + 2);
  t.diagnostic(
    `made anew: enrolled ${((performance.now() - begun) / 1000).toFixed(2)} s after the first was asked for`,
  );
  begun = performance.now();
  assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
  t.diagnostic(`SIGTERM: ended after ${((performance.now() - begun) / 1000).toFixed(2)} s`);
  await ask(holder, "release", /released/);
  await until("no namespace is left", async () => (await ask(holder, "any", /none|some/)) === "none");
});

/** The answer to a line of test/netns/tools/namespaces.c. */
async function ask(holder: RunningProcess, question: string, answer: RegExp): Promise<string> {
  const before = holder.stdout.items.length;
  holder.writeLine(question);
  await holder.stdout.until(`the answer to ${question}`, (lines) => lines.length > before, 60_000);
  const line = holder.stdout.items[before]!;
  assert.match(line, answer);
  return line;
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

for (const family of [4, 6] as const) {
  test(`enrol and withdraw under load lose no connection (IPv${family})`, async (t) => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const client = node.pod("client");
    const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
    await mesh.up();
    const load = await EndlessChurn.start(client, service.addressOf(family)!, 7000);
    const rounds = 4;
    for (let round = 0; round < rounds; round++) {
      const culvert = await node.culvert();
      await culvert.connections(500);
      assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
      await load.nextPhase();
    }
    const phases = (await load.stop()).slice(0, rounds);
    for (const [round, { succeeded, direct, failed }] of phases.entries()) {
      assert.deepEqual(failed, {}, `round ${round}`);
      assert.ok(direct > 0 && succeeded - direct >= 400, `round ${round}: ${succeeded}, of which direct ${direct}`);
    }
    const total = phases.reduce((sum, { succeeded }) => sum + succeeded, 0);
    t.diagnostic(`${total} connections over ${rounds} starts and ${rounds} SIGTERMs`);
  });
}
