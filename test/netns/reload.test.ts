// A changed mesh.yaml comes into force while traffic runs: whole or not at all, and nobody notices.

import assert from "node:assert/strict";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { ConfigProblem } from "../../src/discovery/config-error.ts";
import { marked, wrongConfigurations } from "../unit/discovery/wrong-configurations.ts";
import { echo, nginx } from "./harness/applications.ts";
import { EndlessChurn } from "./harness/churn.ts";
import type { Culvert, LogEvent } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import { tool } from "./harness/tools.ts";

function count(culvert: Culvert, msg: string): number {
  return culvert.log.items.filter((event) => event.msg === msg).length;
}

test("workloads, services and endpoints that are added and removed are so for the next connection, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web-1").serve(nginx())] });
  const culvert = await node.culvert();
  const answers = async () =>
    Promise.all(
      [`http://${web.ipv4}/`, `http://[${web.ipv6}]/`].map(
        async (url) => (await client.run("curl", "-sS", url)).split(" ")[0],
      ),
    );
  assert.deepEqual(await answers(), ["web-1", "web-1"]);

  web.endpoints = [node.pod("web-2").serve(nginx())];
  const more = mesh.service("more", { port: 81, targetPort: 80, endpoints: [node.pod("web-2")] });
  const { pods } = await node.reload();
  assert.equal(pods, 3);
  assert.deepEqual(await answers(), ["web-2", "web-2"]);
  assert.match(await client.run("curl", "-sS", `http://${more.ipv4}:81/`), /^web-2 /);
  assert.match(await client.run("curl", "-sS", `http://[${more.ipv6}]:81/`), /^web-2 /);

  web.endpoints = [];
  await node.reload();
  for (const address of [web.ipv4, web.ipv6])
    assert.equal(await client.run(await tool("dial-as"), "tcp", address, "80"), "connect: ECONNREFUSED");
  assert.equal((await culvert.metrics()).sum("culvert_config_reloads_total", { outcome: "applied" }), 2);
});

test("a pod's capture options change while it runs: opt-outs, egress, pod CIDRs; a pod that is removed is withdrawn", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("server", { enrolled: false }).serve(nginx());
  const unknown = node.outside("website").serve(nginx());
  const culvert = await node.culvert();
  const captured = async (host: string) => {
    const before = (await culvert.metrics()).sum("culvert_connections_opened_total");
    await client.run("curl", "-sS", `http://${host}/`);
    return (await culvert.metrics()).sum("culvert_connections_opened_total") - before;
  };
  const hosts = { known: [server.ipv4, `[${server.ipv6}]`], unknown: [unknown.ipv4, `[${unknown.ipv6}]`] };
  const all = async (these: readonly string[]) => {
    const counts: number[] = [];
    for (const host of these) counts.push(await captured(host));
    return counts;
  };
  assert.deepEqual(
    [await all(hosts.known), await all(hosts.unknown)],
    [
      [1, 1],
      [0, 0],
    ],
  );

  client.options = { outboundOptOut: [{ ports: [80] }] };
  await node.reload();
  assert.deepEqual(await all(hosts.known), [0, 0], "opted out");
  client.options = { record: { capture: { outbound: { egress: "observe" } } } };
  await node.reload();
  assert.deepEqual(
    [await all(hosts.known), await all(hosts.unknown)],
    [
      [1, 1],
      [1, 1],
    ],
    "egress: observe",
  );
  assert.equal((await culvert.connections(1, ({ destination }) => destination === `${unknown.ipv4}:80`)).length, 1);
  client.options = {};
  await node.reload({ podCidrs: [`${unknown.ipv4}/32`, "2001:db8::/32"] });
  assert.deepEqual(await all(hosts.unknown), [1, 1], "in a pod CIDR");

  const open = await (await client.socket()).connect(server.ipv4, 80);
  client.options = { enrolled: false };
  await node.reload();
  assert.deepEqual(
    [await all(hosts.known), await all(hosts.unknown)],
    [
      [0, 0],
      [0, 0],
    ],
    "withdrawn",
  );
  await open.send("GET / HTTP/1.0\r\n\r\n");
  assert.match(await open.receive(8), /HTTP/, "what was open goes on");
  await open.close();
  client.options = {};
  await node.reload();
  assert.deepEqual(await all(hosts.known), [1, 1], "enrolled again");
});

test("a file that is replaced by a rename is noticed by itself, and so is one that is wrong", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const culvert = await node.culvert();
  const text = readFileSync(node.meshFile, "utf8");
  const replace = (content: string) => () => {
    writeFileSync(`${node.meshFile}.other`, content);
    renameSync(`${node.meshFile}.other`, node.meshFile);
  };
  const { version, services } = await culvert.reloaded(
    replace(
      text.replace(
        "services: []",
        "services:\n  - { name: s, addresses: [10.96.0.9], ports: [{ port: 1 }], endpoints: [] }",
      ),
    ),
    { notices: true },
  );
  assert.deepEqual([version, services], [2, 1]);
  assert.equal(await client.run(await tool("dial-as"), "tcp", "10.96.0.9", "1"), "connect: ECONNREFUSED");
  replace("node: {")();
  await culvert.log.find("the refusal", ({ level, msg }) => level === "error" && msg.startsWith("mesh not reloaded"));
});

test("every wrong configuration is refused with its place, and the running one stays; a good one ends the staleness", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web").serve(nginx())] });
  const culvert = await node.culvert();
  const good = readFileSync(node.meshFile, "utf8");
  const rows = Object.values(wrongConfigurations).flat();
  assert.ok(rows.length >= 60);
  for (const [source, , message] of rows) {
    const { text, line, column } = marked(source);
    const isIt = (event: LogEvent) =>
      event.msg.startsWith("mesh not reloaded") &&
      (event.problems as ConfigProblem[]).some(
        (it) => it.line === line && it.column === column && message.test(it.message),
      );
    const from = culvert.log.items.length;
    writeFileSync(`${node.meshFile}.wrong`, text);
    renameSync(`${node.meshFile}.wrong`, node.meshFile);
    process.kill(culvert.pid, "SIGHUP");
    await culvert.log.until(`the refusal of\n${text}\n${line}:${column} ${message}`, (items) =>
      items.slice(from).some(isIt),
    );
  }
  assert.equal(count(culvert, "mesh reloaded"), 0);
  assert.match(await client.run("curl", "-sS", `http://${web.ipv4}/`), /^web /);
  assert.match(await client.run("curl", "-sS", `http://[${web.ipv6}]/`), /^web /);
  assert.equal((await culvert.metrics()).sum("culvert_config_stale"), 1);
  const { status, body } = await culvert.get("/ready");
  assert.equal(status, 200);
  assert.match(body, /^ready\nconfiguration is stale since 20..-.*mesh|a\.yaml:\d+:\d+/);

  writeFileSync(`${node.meshFile}.good`, good);
  renameSync(`${node.meshFile}.good`, node.meshFile);
  await culvert.log.find("unchanged", ({ msg }) => msg === "mesh unchanged");
  assert.equal((await culvert.metrics()).sum("culvert_config_stale"), 0);
  assert.equal((await culvert.get("/ready")).body, "ready\n");
});

test("a key that cannot change while the node runs is refused by name, and nothing else of that file is taken over", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web").serve(nginx())] });
  const culvert = await node.culvert({ workers: 2 });
  const text = readFileSync(node.meshFile, "utf8");
  writeFileSync(
    node.meshFile,
    text.replace("workers: 2", "workers: 3").replace("- web\n", "").replace("endpoints:", "endpoints: []"),
  );
  process.kill(culvert.pid, "SIGHUP");
  const refusal = await culvert.log.find("the refusal", ({ msg }) => msg.startsWith("mesh not reloaded"));
  assert.match(refusal.msg, /a\.yaml:\d+:12: node\.workers: cannot change while the node runs; put 2 back, or restart/);
  assert.match(await client.run("curl", "-sS", `http://${web.ipv4}/`), /^web /);
});

test("an address that passes to another workload carries nothing under the old name, on either side", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("old").serve(nginx());
  const outside = node.outside("laptop");
  const web = mesh.service("web", { port: 80, endpoints: [server] });
  const culvert = await node.culvert();
  const visit = async () => {
    const from = culvert.log.items.length;
    for (const host of [web.ipv4, `[${web.ipv6}]`]) await client.run("curl", "-sS", `http://${host}/`);
    for (const host of [server.ipv4, `[${server.ipv6}]`]) await outside.run("curl", "-sS", `http://${host}/`);
    const connections = (items: readonly LogEvent[]) => items.slice(from).filter(({ msg }) => msg === "connection");
    await culvert.log.until("four connections", (items) => connections(items).length >= 4);
    return connections(culvert.log.items).map((it) => String(it.endpoint).split(" ")[0]);
  };
  assert.deepEqual(await visit(), ["default/old", "default/old", "default/old", "default/old"]);
  const kept = await (await client.socket()).connect(web.ipv4, 80);
  server.options = { record: { name: "new", namespace: "other" } };
  web.record = { endpoints: ["other/new"] };
  await node.reload();
  assert.deepEqual(await visit(), ["other/new", "other/new", "other/new", "other/new"]);
  await kept.send("GET / HTTP/1.0\r\n\r\n");
  assert.equal(await kept.receive(4), "HTTP", "what was open goes on");
});

test("1,000 reloads under load, endpoints added and removed: no failed connection, and none moved", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [six, four] = [node.pod("six"), node.pod("four")];
  const endpoints = ["one", "two", "three", "four-th"].map((name) => node.pod(name).serve(echo(7000)));
  const service = mesh.service("echo", { port: 7000, endpoints });
  const culvert = await node.culvert();
  const [kept, server] = [await six.socket(), await node.pod("keeper").listen(7001)];
  const keeper = mesh.service("keeper", { port: 7001, endpoints: [node.pod("keeper")] });
  await node.reload();
  await kept.connect(keeper.ipv6, 7001);
  await server.accept();
  const loads = [await EndlessChurn.start(four, service.ipv4, 7000), await EndlessChurn.start(six, service.ipv6, 7000)];
  const reloads = 1000;
  for (let i = 0; i < reloads; i++) {
    // All four in turn leave and come back; never fewer than two are there.
    service.endpoints = endpoints.filter((_, k) => k !== i % 4 && (i % 3 !== 0 || k !== (i + 1) % 4));
    if (i === reloads / 2) keeper.endpoints = [];
    await node.reload();
  }
  const results = await Promise.all(loads.map((load) => load.stop()));
  t.diagnostic(JSON.stringify(results));
  for (const [result] of results) {
    assert.deepEqual([result!.failed, result!.direct], [{}, 0]);
    assert.ok(result!.succeeded > reloads);
  }
  // A service that was forgotten for a moment would be dialled as it is, and found by the node's route.
  assert.deepEqual(
    culvert.log.items.filter(
      ({ msg, service: name, destination }) =>
        msg === "connection" && String(destination).endsWith(":7000") && name !== "default/echo:7000",
    ),
    [],
  );
  assert.equal((await culvert.metrics()).sum("culvert_config_reloads_total", { outcome: "applied" }), reloads + 1);
  await kept.send("still");
  assert.equal(await server.receive(5), "still", "its service has no endpoint any more, and it goes on");
});

test("a reload that waits for a worker that hangs says so, and which", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
  const culvert = await node.culvert({ workers: 2, env: { CULVERT_TEST_BUSY: "1", NODE_ENV: "test" } });
  const isHung = () => culvert.log.items.find(({ msg }) => msg.startsWith("worker hangs"));
  // Whichever worker accepts first has a connection: soon it is the other's turn.
  for (let i = 0; isHung() === undefined && i < 600; i++) {
    await (await client.socket()).connect(service.ipv4, 7000).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50)); // Nothing tells that a heartbeat is stale.
  }
  assert.equal(isHung()?.worker, 1);
  service.endpoints = [];
  node.writeMesh({ workers: 2 });
  process.kill(culvert.pid, "SIGHUP");
  const { level, workers } = await culvert.log.find("the warning", ({ msg }) => msg.includes("waits for a worker"));
  assert.deepEqual([level, workers], ["warn", [1]]);
  assert.equal(count(culvert, "mesh reloaded"), 0);
  await culvert.kill();
});

test("of a strict pod that mesh.yaml calls by another path nothing passes by while it is withdrawn and enrolled again", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const strict = node.pod("strict", { whenProxyDown: "deny" });
  const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
  const culvert = await node.culvert();
  const loads = [
    await EndlessChurn.start(strict, service.ipv4, 7000),
    await EndlessChurn.start(strict, service.ipv6, 7000),
  ];
  const { path, pid } = strict.namespace;
  for (const netns of [`/proc/${pid}/task/${pid}/ns/net`, path, `/proc/${pid}/task/${pid}/ns/net`]) {
    strict.options = { ...strict.options, netns };
    await node.reload();
  }
  assert.equal(count(culvert, "pod withdrawn"), 3);
  await Promise.all(loads.map((load) => load.nextPhase()));
  const seen = culvert.log.items.length;
  await culvert.log.until("captured again", (items) => items.length >= seen + 500);
  const results = await Promise.all(loads.map((load) => load.stop()));
  t.diagnostic(JSON.stringify(results));
  for (const [during, after] of results) {
    assert.deepEqual([during!.direct, after!.direct, after!.failed], [0, 0, {}]);
    assert.ok(Object.keys(during!.failed).every((error) => error === "EPERM"));
  }
});
