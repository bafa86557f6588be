// Pods that come and go while Culvert runs, and namespaces that it knows nothing of.

import assert from "node:assert/strict";
import { globSync, mkdirSync, rmSync, unlinkSync } from "node:fs";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import type { PodReport } from "../../src/telemetry/reports.ts";
import { echo, nginx } from "./harness/applications.ts";
import { removeCgroup } from "./harness/cgroup.ts";
import { churn, EndlessChurn } from "./harness/churn.ts";
import type { Culvert } from "./harness/culvert.ts";
import { type Holdings, holdings } from "./harness/holdings.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";

const isEnrolled = (culvert: Culvert, count: number) =>
  untilMetric(culvert, "culvert_pods_enrolled", (value) => value === count);

/** No event tells a metric. */
async function untilMetric(culvert: Culvert, name: string, isRight: (value: number) => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const value = (await culvert.metrics()).sum(name);
    if (isRight(value)) return;
    assert.ok(performance.now() < deadline, `${name} is ${value}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

for (const family of [4, 6] as const) {
  test(`a pod whose namespace is created after culvert is ready is enrolled by itself; with deny not one connect passes before that (IPv${family})`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const late = node.pod("late", { isLate: true });
    const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
    const culvert = await node.culvert({ unknownPods: "deny" });
    assert.equal((await culvert.metrics()).sum("culvert_pods_waiting"), 1);

    await late.make();
    const load = await EndlessChurn.start(late, service.addressOf(family)!, 7000);
    await untilMetric(culvert, "culvert_capture_total", (value) => value > 100);
    late.announce();
    await isEnrolled(culvert, 2);
    await load.nextPhase();
    await culvert.connections(200);
    const [before, after] = await load.stop();
    assert.equal(before!.direct + after!.direct, 0, "not one was connected past the proxy");
    assert.deepEqual(Object.keys(before!.failed), ["EPERM"]);
    assert.deepEqual(after!.failed, {});
    assert.ok(after!.succeeded > 0);
    const metrics = await culvert.metrics();
    assert.equal(metrics.sum("culvert_capture_total", { reason: "deny_unknown" }), before!.failed.EPERM);
    assert.equal(metrics.sum("culvert_enrolment_gap_seconds_count"), 1);
    await culvert.terminate();
  });
}

for (const family of [4, 6] as const) {
  test(`with deny an unknown pod gets nothing past, however often Culvert is killed and started again (IPv${family})`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const unknown = node.pod("unknown", { enrolled: "unknown" });
    node.pod("known");
    const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
    const options = { unknownPods: "deny", kubelet: node.process("kubelet") } as const;
    await (await node.culvert(options)).kill();
    const load = await EndlessChurn.start(unknown, service.addressOf(family)!, 7000);
    for (let round = 0; round < 3; round++) await (await node.culvert(options)).kill();
    const [{ succeeded, direct, failed } = assert.fail()] = await load.stop();
    assert.deepEqual([succeeded, direct, Object.keys(failed)], [0, 0, ["EPERM"]]);
    assert.ok(failed.EPERM! > 100);
    await node.uninstall();
  });
}

test("with pass a late pod's connects pass until it is enrolled, and the metric shows for how long", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const late = node.pod("late", { isLate: true });
  const server = node.pod("server", { enrolled: false }).serve(echo(7000));
  const culvert = await node.culvert();
  await late.make();
  assert.deepEqual(await outcome(late, server.ipv4), { succeeded: 10, direct: 10 });
  const dialled = performance.now();
  assert.deepEqual(await outcome(late, server.ipv6), { succeeded: 10, direct: 10 });
  const seconds = (performance.now() - dialled) / 1000;
  late.announce();
  await isEnrolled(culvert, 1);
  for (const address of [server.ipv4, server.ipv6]) {
    assert.deepEqual(await outcome(late, address), { succeeded: 10, direct: 0 });
  }
  const metrics = await culvert.metrics();
  assert.equal(metrics.sum("culvert_capture_total", { reason: "pass_unknown" }), 20);
  assert.equal(metrics.sum("culvert_enrolment_gap_seconds_count"), 1);
  const gap = metrics.sum("culvert_enrolment_gap_seconds_sum");
  assert.ok(gap >= seconds && gap < seconds + 15, `${gap} s, of which ${seconds} s were seen here`);
  await culvert.terminate();
});

test("what is known to be outside the mesh is not denied: workloads that are not to be enrolled, pods after SIGTERM", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const plain = node.pod("plain", { enrolled: false });
  const unknown = node.pod("unknown", { enrolled: "unknown" });
  const pod = node.pod("pod");
  const server = node.pod("server", { enrolled: false }).serve(echo(7000));
  const culvert = await node.culvert({ unknownPods: "deny", drainTimeoutSeconds: 60 });
  assert.deepEqual(await outcome(plain, server.ipv4), { succeeded: 10, direct: 10 });
  assert.deepEqual(await outcome(plain, server.ipv6), { succeeded: 10, direct: 10 });
  assert.deepEqual(await outcome(unknown, server.ipv4), { succeeded: 0, direct: 0, EPERM: 10 });
  assert.deepEqual(await outcome(unknown, server.ipv6), { succeeded: 0, direct: 0, EPERM: 10 });
  assert.deepEqual(await outcome(unknown, "127.0.0.1", 1), { succeeded: 0, direct: 0, ECONNREFUSED: 10 });

  const waits = await server.listen(7001);
  const open = await (await pod.socket()).connect(server.ipv4, 7001);
  await waits.accept();
  const ended = culvert.exited();
  culvert.signal("SIGTERM");
  await culvert.log.find("draining", ({ msg }) => msg === "draining");
  for (let direct = 0; direct < 10; ) {
    const { EPERM, ...passed } = await outcome(pod, server.ipv4);
    assert.deepEqual([EPERM, passed.succeeded], [undefined, 10]);
    direct = passed.direct!;
  }
  await open.close();
  await waits.close();
  assert.deepEqual(await ended, { code: 0, signal: null });
});

test("a namespace of the pods' cgroup that nothing is known of is noticed, told with its cgroup, and forgotten when it is gone", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const known = node.pod("known").serve(nginx());
  const stranger = node.pod("stranger", { enrolled: "unknown" });
  const culvert = await node.culvert();
  const running = await stranger.start("sleep", "1000");
  await untilMetric(culvert, "culvert_unknown_namespaces", (value) => value === 1);
  const told = await culvert.log.find("the stranger", ({ msg }) => /nothing is known of/.test(msg));
  assert.equal(told.cgroup, stranger.cgroup);
  running.kill("SIGKILL");
  await untilMetric(culvert, "culvert_unknown_namespaces", (value) => value === 0);
  assert.equal(culvert.log.items.filter(({ msg }) => /nothing is known of/.test(msg)).length, 1, known.name);
  await culvert.terminate();
});

test("an unknown namespace that goes and comes again is told again, although another one stays", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [staying, leaving] = ["staying", "leaving"].map((name) => node.pod(name, { enrolled: "unknown" }));
  const culvert = await node.culvert();
  const toldOf = (pod: Pod) =>
    culvert.log.items.filter(({ msg, cgroup }) => /nothing is known of/.test(msg) && cgroup === pod.cgroup).length;
  await staying!.start("sleep", "1000");
  for (const times of [1, 2]) {
    const running = await leaving!.start("sleep", "1000");
    await culvert.log.find("the stranger", () => toldOf(leaving!) === times);
    running.kill("SIGKILL");
    await untilMetric(culvert, "culvert_unknown_namespaces", (value) => value === 1);
  }
  assert.equal(toldOf(staying!), 1);
  await culvert.terminate();
});

for (const how of ["its path is removed", "its last process ends"] as const) {
  test(`a pod that is gone (${how}) is withdrawn: what is open is reset, descriptors and links are given back; its successor is enrolled`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const pod = node.pod("pod", { isLate: true, whenProxyDown: "deny" });
    const server = node.pod("server", { enrolled: false }).serve(echo(7000));
    const culvert = await node.culvert();
    const before = holdings(culvert, node.pins);
    await pod.make();
    pod.announce();
    await isEnrolled(culvert, 1);
    const waits = await server.listen(7001);
    const socket = await pod.socket();
    await socket.connect(server.ipv4, 7001);
    await waits.accept();
    assert.notDeepEqual(holdings(culvert, node.pins), before);

    if (how === "its path is removed") unlinkSync(pod.netnsPath);
    else await pod.namespace.end();
    await culvert.log.find("withdrawn", ({ msg }) => msg === "pod is gone; withdrawn");
    assert.equal((await waits.ending()).end, "reset");
    assert.equal((await culvert.metrics()).sum("culvert_pods_gone_total"), 1);
    await isEnrolled(culvert, 0);
    await untilHeld(culvert, node.pins, before);
    if (how === "its path is removed") {
      pod.announce();
      await isEnrolled(culvert, 1);
      assert.deepEqual(await outcome(pod, server.ipv6), { succeeded: 10, direct: 0 });
    }
    await culvert.terminate();
    if (how === "its path is removed") await node.uninstall();
  });
}

test("a pod that was refused and is gone is waited for like any other, and told as a fault no more", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const late = node.pod("late", { isLate: true });
  const culvert = await node.culvert();
  await late.make();
  const sidecar = await late.listen(15_001);
  const stateOf = async () => (await node.report<{ pods: PodReport[] }>("pods")).pods[0]!;
  late.announce();
  await culvert.log.find("its refusal", ({ msg }) => /^pod not enrolled/.test(msg));
  const refused = await stateOf();
  assert.equal(refused.state, "refused");
  assert.match(refused.because, /15001.*already in use/);
  unlinkSync(late.netnsPath);
  await untilMetric(culvert, "culvert_pods_waiting", (value) => value === 1);
  const { state, because } = await stateOf();
  assert.deepEqual([state, because], ["waiting", ""]);
  await sidecar.end();
});

test("pins that somebody removes while Culvert runs are made again: pods come and go as before, and it ends as ever", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const late = node.pod("late", { isLate: true });
  const server = node.pod("server", { enrolled: false }).serve(echo(7000));
  const culvert = await node.culvert();
  await late.make();
  for (let round = 0; round < 2; round++) {
    rmSync(node.pins, { recursive: true });
    late.announce();
    await isEnrolled(culvert, 1);
    for (const address of [server.ipv4, server.ipv6]) {
      assert.deepEqual(await outcome(late, address), { succeeded: 10, direct: 0 });
    }
    assert.equal(globSync(`${node.pins}/*/links/netns_*`).length, 1);
    rmSync(node.pins, { recursive: true });
    unlinkSync(late.netnsPath);
    await isEnrolled(culvert, 0);
    late.announce();
    await isEnrolled(culvert, 1);
    unlinkSync(late.netnsPath);
    await isEnrolled(culvert, 0);
  }
  rmSync(node.pins, { recursive: true });
  assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
});

test("a pod whose cgroup is removed is withdrawn although something still holds its namespace, and is enrolled again when both are there", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const pod = node.pod("pod", { namesCgroup: true });
  const server = node.pod("server", { enrolled: false }).serve(echo(7000));
  const culvert = await node.culvert();
  for (let round = 1; round <= 2; round++) {
    for (const address of [server.ipv4, server.ipv6]) {
      assert.deepEqual(await outcome(pod, address), { succeeded: 10, direct: 0 });
    }
    await removeCgroup(pod.cgroup);
    await isEnrolled(culvert, 0);
    assert.equal((await culvert.metrics()).sum("culvert_pods_gone_total"), round);
    mkdirSync(pod.cgroup);
    await isEnrolled(culvert, 1);
  }
  await culvert.terminate();
});

async function outcome(from: Pod, address: string, port = 7000): Promise<Record<string, number>> {
  const { succeeded, direct, failed } = await churn(from, address, port, { connections: 10, concurrency: 1 });
  return { succeeded, direct, ...failed };
}

/** Connections to the admin socket, and what the kernel closes in its own time, go a little later. */
async function untilHeld(culvert: Culvert, pins: string, wanted: Holdings): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!isDeepStrictEqual(holdings(culvert, pins), wanted) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(holdings(culvert, pins), wanted);
}
