// What real nodes hand to Culvert: pods that go while they are enrolled, paths that lead nowhere, ports that are taken. Each is
// said with its reason, and everybody else is served.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { PodReport } from "../../src/telemetry/reports.ts";
import { otherObjects } from "../kernel/lab/other-objects.ts";
import { echo, nginx } from "./harness/applications.ts";
import type { Culvert, LogEvent } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";
import { tool } from "./harness/tools.ts";

/** Why each pod was not enrolled. */
function refusals(culvert: Culvert): Map<string, string> {
  const lines = culvert.log.items.filter(({ msg, err }) => /not enrolled/.test(msg) && err !== undefined);
  return new Map(lines.map((line) => [String(line.pod).replace("default/", ""), reasonOf(line)]));
}

function reasonOf({ err }: LogEvent): string {
  return (err as { message: string }).message;
}

async function dial(from: Pod, address: string): Promise<string> {
  return from.run(await tool("dial-as"), "tcp", address, "7000");
}

test("namespaces that vanish before or while they are enrolled are told; the other pods are enrolled and served", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("server").serve(echo(7000));
  const pods = Array.from({ length: 24 }, (_, i) => node.pod(`pod-${i}`));
  await mesh.up();
  await pods[0]!.namespace.end();
  const culvert = await node.startCulvert();
  // As soon as the first of those that stay has listeners, the rest goes, from the last on.
  while (!pods[1]!.namespace.listeningPorts().has(15_001)) await new Promise((resolve) => setTimeout(resolve, 1));
  await Promise.all(pods.slice(4).map((pod) => pod.namespace.end()));

  const ready = await culvert.ready();
  const refused = refusals(culvert);
  for (const reason of refused.values()) assert.match(reason, /network namespace/);
  for (const name of ["client", "server", "pod-1", "pod-2", "pod-3"]) assert.ok(!refused.has(name), name);
  assert.equal(Number(ready.pods) + Number(ready.failed) + Number(ready.waiting), pods.length + 2);
  const missing = culvert.log.items.filter(({ msg }) => /pod is not there yet/.test(msg)).map(({ pod }) => pod);
  assert.ok(missing.includes("default/pod-0"));
  // Whatever had been done for the others is undone.
  await culvert.log.until("all that vanished are told", (items) =>
    pods
      .slice(4)
      .every(({ name }) => items.some(({ pod, msg }) => pod === `default/${name}` && !/enrolled$/.test(msg))),
  );
  for (const address of [server.ipv4, server.ipv6]) {
    assert.equal(await dial(client, address), "connected");
    assert.equal(await dial(pods[3]!, address), "connected");
  }
  assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
});

test("a netns path that is no network namespace is told with the path and what is wrong; the other pods are enrolled", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [file, directory, pipe] = ["file", "directory", "pipe"].map((name) => `${mesh.directory}/${name}`) as [
    string,
    string,
    string,
  ];
  writeFileSync(file, "");
  mkdirSync(directory);
  execFileSync("mkfifo", [pipe]);
  const client = node.pod("client");
  const wrong = [
    { name: "file", netns: file, reason: /is no network namespace/ },
    { name: "directory", netns: directory, reason: /is no network namespace/ },
    { name: "pipe", netns: pipe, reason: /is no network namespace/ },
    { name: "another-kind", netns: "/proc/self/ns/pid", reason: /is no network namespace/ },
    { name: "its-own", netns: "/proc/self/ns/net", reason: /the proxy's own network namespace/ },
  ];
  for (const { name, netns } of wrong) node.pod(name, { netns });
  const server = node.pod("server").serve(echo(7000));
  const culvert = await node.culvert();
  for (const { name, netns, reason } of wrong) {
    const told = culvert.log.items.filter(({ pod }) => pod === `default/${name}`);
    assert.equal(told.length, 1, name);
    assert.match(told[0]!.msg, /^pod not enrolled; /);
    assert.match(told[0]!.err === undefined ? told[0]!.msg : reasonOf(told[0]!), reason);
    assert.equal(told[0]!.netns, netns);
  }
  const { pods, failed, waiting } = await culvert.ready();
  assert.deepEqual({ pods, failed, waiting }, { pods: 2, failed: 2, waiting: 3 }, "what may become one is waited for");
  for (const address of [server.ipv4, server.ipv6]) assert.equal(await dial(client, address), "connected");
});

test("a pod without IPv6, by its addresses or by its kernel settings, and one without IPv4 are captured in what they have", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [only4, only6, off6] = [
    node.pod("only4", { families: [4] }),
    node.pod("only6", { families: [6] }),
    node.pod("off6"),
  ];
  const server = node.pod("server").serve(echo(7000));
  await mesh.up();
  await off6.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
  const culvert = await node.culvert();
  assert.equal(refusals(culvert).size, 0);
  for (const pod of [only4, off6]) {
    assert.equal(await dial(pod, server.ipv4), "connected", pod.name);
    assert.equal(await dial(pod, `::ffff:${server.ipv4}`), "connected", pod.name);
    assert.match(await dial(pod, server.ipv6), /^connect: (ENETUNREACH|EADDRNOTAVAIL)$/, "as without Culvert");
  }
  assert.equal(await dial(only6, server.ipv6), "connected");
  assert.match(await dial(only6, server.ipv4), /^connect: ENETUNREACH$/, "as without Culvert");
  // And as servers.
  const outside = node.outside("laptop");
  for (const [pod, address] of [
    [only4, only4.ipv4],
    [off6, off6.ipv4],
    [only6, only6.ipv6],
  ] as const) {
    const listener = await pod.listen(7001, pod === only6 ? "::" : "0.0.0.0");
    const socket = await (await outside.socket()).connect(address, 7001);
    await listener.accept();
    await socket.close();
    await listener.end();
    const { pod: captured } = await culvert.connection(({ destination }) => destination.includes(address));
    assert.equal(captured, `default/${pod.name}`);
  }
});

test("a pod with two addresses per family is captured at each, and its own talk between them is not", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const more = ["10.244.1.200", "fd00:244:1::200"] as const;
  const client = node.pod("client");
  const server = node.pod("server", { moreAddresses: more }).serve(nginx());
  const outside = node.outside("laptop");
  await mesh.up();
  await server.namespace.configure([`address add ${more[0]}/24 dev eth0`, `address add ${more[1]}/64 dev eth0 nodad`]);
  const culvert = await node.culvert();
  const addresses = [server.ipv4, more[0], `[${server.ipv6}]`, `[${more[1]}]`];
  for (const from of [client, outside]) {
    for (const address of addresses) {
      assert.match(await from.run("curl", "-sS", `http://${address}/`), /^server /);
    }
  }
  const connections = await culvert.connections(8);
  const seen = (wanted: string) =>
    connections.filter(({ direction }) => direction === wanted).map(({ destination }) => destination);
  const expected = addresses.map((address) => `${address}:80`).sort();
  assert.deepEqual(seen("outbound").sort(), expected);
  assert.deepEqual(seen("inbound").sort(), expected);
  const passed = async () => (await culvert.metrics()).sum("culvert_capture_total", { reason: "pass_self" });
  const before = await passed();
  for (const address of addresses) await server.run("curl", "-sS", `http://${address}/`);
  assert.equal((await passed()) - before, addresses.length);
});

test("mesh ports that another mesh's sidecar has: the pod is refused, told whose the port is, and goes on as without Culvert; a strict one is closed", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const taken = [
    { pod: node.pod("all"), address: "::", port: 15_001 },
    { pod: node.pod("ipv4"), address: "0.0.0.0", port: 15_001 },
    { pod: node.pod("ipv6"), address: "::1", port: 15_006 },
    { pod: node.pod("loopback"), address: "127.0.0.1", port: 15_006 },
  ];
  const strict = { pod: node.pod("strict", { whenProxyDown: "deny" }), address: "::", port: 15_001 };
  taken.push(strict);
  const client = node.pod("client");
  const server = node.pod("server").serve(echo(7000));
  const sidecars = await Promise.all(taken.map(({ pod, address, port }) => pod.listen(port, address)));
  const culvert = await node.culvert();
  const refused = refusals(culvert);
  assert.deepEqual([...refused.keys()].sort(), taken.map(({ pod }) => pod.name).sort());
  for (const [i, { pod, port }] of taken.entries()) {
    const reason = refused.get(pod.name)!;
    assert.match(
      reason,
      new RegExp(`listen on \\S+ port ${port}: address already in use by process ${sidecars[i]!.pid} \\(.*socket-`),
    );
    const expected = pod === strict.pod ? "connect: EPERM" : "connected directly";
    for (const address of [server.ipv4, server.ipv6]) assert.equal(await dial(pod, address), expected, pod.name);
  }
  assert.equal(await dial(client, server.ipv4), "connected");
});

test("a pod that was refused is tried again and captured when nothing stands in its way any more; meanwhile its refusal is logged once, and culvert pods has the reason; a strict one stays closed until then", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [open, strict] = [node.pod("open"), node.pod("strict", { whenProxyDown: "deny" })];
  const server = node.pod("server").serve(echo(7000));
  const sidecars = await Promise.all([open, strict].map((pod) => pod.listen(15_001)));
  const culvert = await node.culvert();
  assert.equal((await node.command(["log-level", "debug"])).code, 0);
  const stillRefused = (items: readonly LogEvent[]) =>
    ["open", "strict"].every(
      (name) => items.filter(({ pod, msg }) => pod === `default/${name}` && /still not enrolled/.test(msg)).length >= 2,
    );
  await culvert.log.until("each was tried twice more", stillRefused);
  for (const name of ["open", "strict"]) {
    const told = culvert.log.items.filter(({ pod, msg }) => pod === `default/${name}` && /^pod not enrolled/.test(msg));
    assert.equal(told.length, 1, name);
  }
  const { pods } = JSON.parse((await culvert.get("/pods")).body) as { pods: PodReport[] };
  for (const { name, state, because } of pods) {
    if (name === "default/server") continue;
    assert.equal(state, "refused", name);
    assert.match(because, /port 15001: address already in use by process/);
  }
  for (const address of [server.ipv4, server.ipv6]) {
    assert.equal(await dial(open, address), "connected directly");
    assert.equal(await dial(strict, address), "connect: EPERM");
  }
  for (const sidecar of sidecars) await sidecar.end();
  for (const name of ["open", "strict"])
    await culvert.log.find(
      `${name} is enrolled`,
      ({ pod, msg }) => pod === `default/${name}` && msg === "pod enrolled",
    );
  for (const pod of [open, strict])
    for (const address of [server.ipv4, server.ipv6]) assert.equal(await dial(pod, address), "connected", pod.name);
});

test("maps that are full: destinations beyond the limit end the start, a pod beyond it is refused, each told with the map's name and limit", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [first, second] = [node.pod("first"), node.pod("second")];
  const server = node.pod("server").serve(echo(7000));
  const env = (version: "fourDestinations" | "onePod") => ({
    NODE_ENV: "test",
    CULVERT_TEST_BPF: otherObjects(version),
  });
  const ending = await node.startCulvert({ env: env("fourDestinations") });
  assert.deepEqual(await ending.exited(), { code: 1, signal: null });
  assert.match(ending.stderr, /BPF map destinations is full: 6 are wanted, and one node can have 4/);
  assert.equal(await dial(first, server.ipv4), "connected directly", "nothing is left of it");

  const culvert = await node.culvert({ env: env("onePod") });
  const refused = refusals(culvert);
  assert.deepEqual([...refused.keys()].sort(), ["second", "server"]);
  for (const reason of refused.values()) assert.match(reason, /BPF map pods is full: .*one node can have 1/);
  for (const address of [server.ipv4, server.ipv6]) {
    assert.equal(await dial(first, address), "connected");
    assert.equal(await dial(second, address), "connected directly");
  }
});
