// What keeping sources needs in a pod's namespace is there while the pod is enrolled, once, and gone afterwards.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { patienceMs } from "./harness/journal.ts";
import { Mesh } from "./harness/mesh.ts";
import type { MeshNode } from "./harness/mesh-node.ts";
import type { Pod, PodOptions } from "./harness/pod.ts";
import type { RemoteSocket } from "./harness/remote-socket.ts";
import { sourceRoutingOf } from "./harness/source-routing.ts";

const podCidrs = ["10.244.0.0/16"];
const none = {
  rules: [],
  routes: [],
  sysctls: { "net/ipv4/tcp_fwmark_accept": "0", "net/ipv4/fwmark_reflect": "0", "net/ipv6/fwmark_reflect": "0" },
};
const all = {
  rules: ["-4 1: from all fwmark 0x6d58 lookup 7733", "-6 1: from all fwmark 0x6d58 lookup 7733"],
  routes: [/^-4 local default dev lo table 7733 .*scope host/, /^-6 local default dev lo table 7733 /],
  sysctls: { "net/ipv4/tcp_fwmark_accept": "1", "net/ipv4/fwmark_reflect": "1", "net/ipv6/fwmark_reflect": "1" },
};

async function start(mesh: Mesh, options: PodOptions = {}): Promise<{ node: MeshNode; pod: Pod }> {
  const node = mesh.node("a");
  const pod = node.pod("server", options).serve(echo(7000));
  await mesh.up();
  assert.deepEqual(await sourceRoutingOf(pod), none);
  return { node, pod };
}

async function assertThere(pod: Pod): Promise<void> {
  const { rules, routes, sysctls } = await sourceRoutingOf(pod);
  assert.deepEqual([rules, sysctls], [all.rules, all.sysctls]);
  assert.equal(routes.length, all.routes.length, routes.join("\n"));
  for (const [i, route] of routes.entries()) assert.match(route, all.routes[i]!);
}

async function assertEchoes(socket: RemoteSocket): Promise<void> {
  await socket.send("x");
  assert.equal(await socket.receive(1), "x");
}

/** Resolves when the proxy listens in the pod no more. */
async function withdrawn(pod: Pod): Promise<void> {
  const end = performance.now() + patienceMs;
  while (pod.namespace.listeningPorts().has(15_006)) {
    assert.ok(performance.now() < end, "the proxy still listens");
    await new Promise((resolve) => setTimeout(resolve, 5)); // No event tells.
  }
}

for (const whenProxyDown of ["pass", "deny"] as const) {
  test(`rules, routes and sysctls are there while a pod is enrolled, and gone after SIGTERM (whenProxyDown: ${whenProxyDown})`, async () => {
    await using mesh = await Mesh.start();
    const { node, pod } = await start(mesh, { whenProxyDown });
    const itself = node.process("agent");
    const culvert = await node.culvert({ podCidrs });
    await assertThere(pod);
    assert.deepEqual(await sourceRoutingOf(itself), none, "nothing in the node's own namespace");
    assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
    assert.deepEqual(await sourceRoutingOf(pod), none);
  });
}

test("after kill -9 and a restart they are there once, and gone after SIGTERM", async () => {
  await using mesh = await Mesh.start();
  const { node, pod } = await start(mesh);
  await (await node.culvert({ podCidrs })).kill();
  await assertThere(pod);
  const second = await node.culvert({ podCidrs });
  await assertThere(pod);
  await second.terminate();
  assert.deepEqual(await sourceRoutingOf(pod), none);
});

for (const whenProxyDown of ["pass", "deny"] as const) {
  test(`after kill -9 and culvert uninstall they are gone (whenProxyDown: ${whenProxyDown})`, async () => {
    await using mesh = await Mesh.start();
    const { node, pod } = await start(mesh, { whenProxyDown });
    await (await node.culvert({ podCidrs })).kill();
    const { code, stdout } = await node.uninstall();
    assert.equal(code, 0);
    assert.match(stdout, /removed rules, routes and settings of .* from 1 pods' network namespaces/);
    assert.deepEqual(await sourceRoutingOf(pod), none);
  });
}

test("what a killed Culvert left in a pod that the next one does not enroll is gone when that is ready", async () => {
  await using mesh = await Mesh.start();
  const { node, pod } = await start(mesh);
  await (await node.culvert({ podCidrs })).kill();
  await node.culvert({ podCidrs, without: [pod.name] });
  assert.deepEqual(await sourceRoutingOf(pod), none);
});

test("a sysctl that was set before is set afterwards, also when Culvert was killed in between", async () => {
  await using mesh = await Mesh.start();
  const { node, pod } = await start(mesh);
  await pod.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept");
  await (await node.culvert({ podCidrs })).kill();
  const second = await node.culvert({ podCidrs });
  await assertThere(pod);
  await second.terminate();
  assert.deepEqual(await sourceRoutingOf(pod), {
    ...none,
    sysctls: { ...none.sysctls, "net/ipv4/tcp_fwmark_accept": "1" },
  });
});

test("a pod without IPv6 has those of IPv4, and its clients' addresses are kept", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const pod = node.pod("server", { families: [4] }).serve(echo(7000));
  const client = node.elsewhere("remote");
  await mesh.up();
  await pod.run("sh", "-c", "for i in all default lo eth0; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done");
  const culvert = await node.culvert({ podCidrs });
  const { rules, routes } = await sourceRoutingOf(pod);
  assert.deepEqual(rules, all.rules.slice(0, 1));
  assert.equal(routes.length, 1);
  const socket = await (await client.socket()).connect(pod.ipv4, 7000);
  await assertEchoes(socket);
  await socket.close();
  assert.equal((await culvert.connection()).seenAs, "client");
  await culvert.terminate();
  assert.deepEqual(await sourceRoutingOf(pod), none);
});

test("a connection under its client's address lives on while its pod is withdrawn; the routing goes after it", async () => {
  await using mesh = await Mesh.start();
  const { node, pod } = await start(mesh);
  const client = node.elsewhere("remote");
  const culvert = await node.culvert({ podCidrs });
  const socket = await (await client.socket()).connect(pod.ipv4, 7000);
  await assertEchoes(socket);
  culvert.signal("SIGTERM");
  await withdrawn(pod);
  await assertThere(pod);
  await assertEchoes(socket);
  await socket.close();
  assert.deepEqual(await culvert.exited(), { code: 0, signal: null });
  assert.deepEqual(await sourceRoutingOf(pod), none);
});

test("what an application has not read yet when its pod is withdrawn still arrives, to the end", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const server = node.pod("server");
  const client = node.elsewhere("remote");
  const listener = await server.listen(7000);
  const culvert = await node.culvert({ podCidrs, drainTimeoutSeconds: 60 });
  const socket = await (await client.socket()).connect(server.ipv4, 7000);
  await listener.accept();
  await listener.shutdown();
  const bytes = await socket.fill(1_000_000);
  await socket.close();
  // The proxy has closed its side; what it wrote waits in the kernel.
  assert.equal((await culvert.connection()).seenAs, "client");
  culvert.signal("SIGTERM");
  await withdrawn(server);
  await assertThere(server);
  assert.deepEqual(await listener.ending(), { bytes, end: "fin" });
  await listener.close();
  assert.deepEqual(await culvert.exited(), { code: 0, signal: null });
  assert.deepEqual(await sourceRoutingOf(server), none);
});

test("a pod that the mesh file drops and takes up again keeps its routing for what is open, and has it once", async () => {
  await using mesh = await Mesh.start();
  const { node, pod } = await start(mesh);
  const client = node.elsewhere("remote");
  const culvert = await node.culvert({ podCidrs });
  const open = async () => {
    const socket = await (await client.socket()).connect(pod.ipv4, 7000);
    await assertEchoes(socket);
    return socket;
  };
  const first = await open();
  pod.options = { enrolled: false };
  await node.reload();
  await assertThere(pod);
  pod.options = {};
  await node.reload();
  const second = await open();
  await first.close();
  await culvert.connection();
  await assertThere(pod);
  await assertEchoes(second);

  pod.options = { enrolled: false };
  await node.reload();
  await second.close();
  const end = performance.now() + patienceMs;
  while ((await sourceRoutingOf(pod)).rules.length > 0)
    assert.ok(performance.now() < end, "the routing is still there");
  assert.deepEqual(await sourceRoutingOf(pod), none);
});
