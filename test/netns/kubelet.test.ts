// Probes by whoever is exempt (the kubelet) ask the application itself; everybody else on the node is captured.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { test } from "node:test";
import { nginx } from "./harness/applications.ts";
import { removeCgroup } from "./harness/cgroup.ts";
import type { Culvert } from "./harness/culvert.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";

const probePort = 8080;

function declare(mesh: Mesh): { kubelet: Host; agent: Host; web: Pod; start: () => Promise<Culvert> } {
  const node = mesh.node("a");
  const [kubelet, agent] = [node.process("kubelet"), node.process("agent")];
  const web = node.pod("web", { probePorts: [probePort] }).serve(nginx(), nginx({ port: probePort }));
  return { kubelet, agent, web, start: () => node.culvert({ kubelet }) };
}

/** A curl from there to each address of the pod reaches it: how many were captured, how many passed by address and port. */
async function dial(culvert: Culvert, from: Host, to: Pod, port = 80): Promise<Record<string, number>> {
  const counts = async () => {
    const metrics = await culvert.metrics();
    const reason = (name: string) => metrics.sum("culvert_capture_total", { reason: name });
    return { captured: reason("captured_inbound"), byPort: reason("pass_probe") };
  };
  const before = await counts();
  for (const address of [to.ipv4, `[${to.ipv6}]`]) {
    assert.match(await from.run("curl", "-sS", `http://${address}:${port}/`), new RegExp(`^${to.name} `));
  }
  const after = await counts();
  return { captured: after.captured - before.captured, byPort: after.byPort - before.byPort };
}

const direct = { captured: 0, byPort: 0 };
const byPort = { captured: 0, byPort: 2 };
const captured = { captured: 2, byPort: 0 };

test("probes from the exempt cgroup reach the application directly before and after that cgroup was recreated; other host processes are captured", async () => {
  await using mesh = await Mesh.start();
  const { kubelet, agent, web, start } = declare(mesh);
  const culvert = await start();
  const isAttached = async () => (await culvert.metrics()).sum("culvert_probe_exemption_attached");
  for (let round = 1; round <= 3; round++) {
    assert.deepEqual(await dial(culvert, kubelet, web), direct, `round ${round}`);
    assert.deepEqual(await dial(culvert, agent, web), captured, `round ${round}`);
    assert.deepEqual(await dial(culvert, agent, web, probePort), captured, "the second rule rests meanwhile");
    assert.equal(await isAttached(), 1);

    await removeCgroup(kubelet.cgroup);
    await culvert.log.atLeast(round, "defunct", ({ msg }) => /cgroup is gone, its hook defunct/.test(msg));
    assert.equal(await isAttached(), 0);
    mkdirSync(kubelet.cgroup);
    await culvert.log.atLeast(round, "attached again", ({ msg }) => /cgroup is there: attached again/.test(msg));
  }
  assert.equal((await culvert.metrics()).sum("culvert_probe_exemption_attachments_total"), 4);
  await culvert.terminate();
});

test("a kubelet's cgroup whose parents come later, or go too, is attached to when it is there", async () => {
  await using mesh = await Mesh.start();
  const { kubelet, web } = declare(mesh);
  const node = mesh.node("a");
  const deep = Object.assign(node.process("deep"), { cgroup: `${kubelet.cgroup}/system.slice/kubelet.service` });
  const culvert = await node.culvert({ kubelet: deep });
  assert.ok(culvert.log.items.some(({ msg }) => /the kubelet's cgroup is not there/.test(msg)));
  for (let round = 1; round <= 2; round++) {
    mkdirSync(deep.cgroup, { recursive: true });
    await culvert.log.atLeast(round, "attached", ({ msg }) => /cgroup is there: attached/.test(msg));
    assert.deepEqual(await dial(culvert, deep, web), direct);
    await removeCgroup(deep.cgroup);
    await removeCgroup(`${kubelet.cgroup}/system.slice`);
    await culvert.log.atLeast(round, "defunct", ({ msg }) => /cgroup is gone/.test(msg));
  }
  await culvert.terminate();
});

test("while the exempt cgroup is not there, connections from an address of the node to a declared probe port count as probes, and no others", async () => {
  await using mesh = await Mesh.start();
  const { kubelet, agent, web, start } = declare(mesh);
  const outside = mesh.node("a").outside("laptop");
  await removeCgroup(kubelet.cgroup);
  const culvert = await start();
  assert.deepEqual(await dial(culvert, agent, web, probePort), byPort);
  assert.deepEqual(await dial(culvert, agent, web), captured, "another port");
  assert.deepEqual(await dial(culvert, outside, web, probePort), captured, "another source");
  mkdirSync(kubelet.cgroup);
  await culvert.log.find("attached", ({ msg }) => /cgroup is there: attached/.test(msg));
  assert.deepEqual(await dial(culvert, agent, web, probePort), captured, "the first rule tells from here on");
  assert.deepEqual(await dial(culvert, kubelet, web, probePort), direct);
  assert.ok(existsSync(kubelet.cgroup));
  await culvert.terminate();
});

test("a killed Culvert's exemption stays in force with what it pinned, and the next one takes it over, or replaces a dead one", async () => {
  await using mesh = await Mesh.start();
  const { kubelet, agent, web, start } = declare(mesh);
  await (await start()).kill();
  const second = await start();
  assert.deepEqual(await dial(second, kubelet, web), direct);
  assert.deepEqual(await dial(second, agent, web), captured);
  await second.kill();
  await removeCgroup(kubelet.cgroup);
  mkdirSync(kubelet.cgroup);
  const third = await start();
  assert.deepEqual(await dial(third, kubelet, web), direct);
  await third.terminate();
});
