// Services over two nodes, each with its own Culvert: nearness, endpoints that die, come back or are removed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo, nginx } from "./harness/applications.ts";
import { churn, EndlessChurn } from "./harness/churn.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { MeshNode } from "./harness/mesh-node.ts";
import { exim } from "./harness/server-first.ts";
import { tool } from "./harness/tools.ts";

function nodes(mesh: Mesh, zones: readonly [string, string] = ["one", "two"]): [MeshNode, MeshNode] {
  return [mesh.node("a", { zone: zones[0] }), mesh.node("b", { zone: zones[1] })];
}

function events(culvert: Culvert, event: string): Promise<number> {
  return culvert.metrics().then((metrics) => metrics.sum("culvert_endpoint_events_total", { event }));
}

/** How many connections were logged for each endpoint (`default/name`). */
async function shares(culvert: Culvert, connections: number): Promise<Record<string, number>> {
  const all = await culvert.connections(connections, ({ direction }) => direction === "outbound");
  const counts: Record<string, number> = {};
  for (const { endpoint } of all) counts[endpoint!.split(" ")[0]!] = (counts[endpoint!.split(" ")[0]!] ?? 0) + 1;
  return counts;
}

test("an endpoint on another node is reached through both nodes' proxies, over IPv4, IPv6 and v4-mapped", async () => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh);
  const client = a.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [b.pod("web").serve(nginx())] });
  const [outbound, inbound] = [await a.culvert(), await b.culvert()];
  for (const host of [web.ipv4, `[${web.ipv6}]`, `[::ffff:${web.ipv4}]`])
    assert.match(await client.run("curl", "-sS", `http://${host}/`), /^web /);
  for (const it of await outbound.connections(3)) {
    assert.deepEqual(
      [it.direction, it.service, it.transport, it.result],
      ["outbound", "default/web:80", "plain", "ok"],
    );
  }
  for (const it of await inbound.connections(3)) {
    assert.deepEqual([it.direction, it.pod, it.result], ["inbound", "default/web", "ok"]);
  }
});

for (const prefer of ["zone", "node"]) {
  test(`prefer: ${prefer} keeps connections near, and spills over when what is near is crowded or gone`, async () => {
    await using mesh = await Mesh.start();
    const [a, b] = nodes(mesh, prefer === "zone" ? ["one", "two"] : ["one", "one"]);
    const client = a.pod("client");
    const near = a.pod("near");
    const endpoints = [near, b.pod("far").serve(echo(7000))];
    const service = mesh.service("echo", { port: 7000, endpoints, record: { prefer } });
    const application = await near.start(await tool("echo"), "7000");
    await near.untilListening(application, [7000]);
    const culvert = await a.culvert({ workers: 1 });
    await b.culvert();
    assert.deepEqual((await churn(client, service.ipv4, 7000, { connections: 200, concurrency: 4 })).failed, {});
    assert.deepEqual(await shares(culvert, 200), { "default/near": 200 });

    const sockets = await Promise.all(
      Array.from({ length: 16 }, async () => (await client.socket()).connect(service.ipv6, 7000)),
    );
    for (const socket of sockets) {
      await socket.send("x");
      await socket.receive(1);
    }
    await Promise.all(sockets.map((socket) => socket.close()));
    const crowded = await shares(culvert, 216);
    assert.ok(crowded["default/far"]! > 0 && crowded["default/far"]! < 8, JSON.stringify(crowded));

    application.kill("SIGKILL");
    await application.exited;
    assert.deepEqual((await churn(client, service.ipv4, 7000, { connections: 200, concurrency: 4 })).failed, {});
    assert.ok((await shares(culvert, 416))["default/far"]! >= 200);
  });
}

test("a service that prefers nothing is balanced over all nodes", async () => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh);
  const client = a.pod("client");
  const endpoints = [a.pod("near").serve(echo(7000)), b.pod("far").serve(echo(7000))];
  const service = mesh.service("echo", { port: 7000, endpoints, record: { prefer: "none" } });
  const culvert = await a.culvert();
  await b.culvert();
  assert.deepEqual((await churn(client, service.ipv4, 7000, { connections: 400 })).failed, {});
  const counts = await shares(culvert, 400);
  assert.ok(Math.min(counts["default/near"]!, counts["default/far"]!) > 40, JSON.stringify(counts));
});

test("an endpoint that refuses costs no connection: each is tried on another; it is ejected, probed, and used again when it is back", async (t) => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh, ["one", "one"]);
  const client = a.pod("client");
  const dying = a.pod("dying");
  const endpoints = [dying, a.pod("near").serve(echo(7000)), b.pod("far").serve(echo(7000))];
  const service = mesh.service("echo", { port: 7000, endpoints });
  const start = async () => {
    const application = await dying.start(await tool("echo"), "7000");
    await dying.untilListening(application, [7000]);
    return application;
  };
  const application = await start();
  const culvert = await a.culvert({ workers: 1 });
  await b.culvert();
  const loads = [
    await EndlessChurn.start(client, service.ipv4, 7000),
    await EndlessChurn.start(client, service.ipv6, 7000),
  ];
  await culvert.connections(300);
  application.kill("SIGKILL");
  await application.exited;
  await Promise.all(loads.map((load) => load.nextPhase()));
  const ejected = await culvert.log.find("ejected", ({ msg }) => msg === "endpoint ejected");
  assert.match(String(ejected.endpoint), /^default\/dying .*:7000$/);
  assert.equal(ejected.result, "refused");
  const tried = await culvert.connection(({ tried }) => String(tried).startsWith("default/dying "));
  assert.deepEqual([tried.result, /: refused$/.test(String(tried.tried))], ["ok", true]);
  // The first probe comes after a second, and fails.
  await culvert.log.atLeast(3, "ejected", ({ msg }) => msg === "endpoint ejected");
  await Promise.all(loads.map((load) => load.nextPhase()));
  await start();
  await culvert.log.find("recovered", ({ msg }) => msg === "endpoint recovered");
  await Promise.all(loads.map((load) => load.nextPhase()));
  const seen = culvert.log.items.length;
  await culvert.log.until("used again", (items) =>
    String(items.slice(seen).at(-1)?.endpoint).startsWith("default/dying "),
  );
  const results = await Promise.all(loads.map((load) => load.stop()));
  t.diagnostic(JSON.stringify(results));
  for (const phases of results) {
    // Those that it had accepted when it was killed are cut, by its end.
    assert.ok(Object.values(phases[0]!.failed).reduce((sum, n) => sum + n, 0) <= 16);
    for (const phase of phases.slice(1)) assert.deepEqual(phase.failed, {});
  }
  const [retried, probed] = [await events(culvert, "retried"), await events(culvert, "probed")];
  assert.ok(retried >= 2 && retried < 100, `${retried} retried: an ejected endpoint is left alone`);
  assert.ok(probed >= 2 && probed < 20, `${probed} probed`);
});

test("an endpoint that does not answer is given up in time for another to answer within the connect time-out", async () => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh, ["one", "one"]);
  const client = a.pod("client");
  const silent = b.pod("silent", { enrolled: false });
  const endpoints = [silent, a.pod("near").serve(echo(7000))];
  const service = mesh.service("echo", { port: 7000, endpoints });
  const culvert = await a.culvert({ workers: 1, connectTimeoutSeconds: 4 });
  // Answers to clients go nowhere: as if the machine were gone.
  await silent.namespace.configure([`route add blackhole ${client.ipv4}`, `route add blackhole ${client.ipv6}`]);
  for (const address of [service.ipv4, service.ipv6]) {
    const result = await churn(client, address, 7000, { connections: 40, concurrency: 8 });
    assert.deepEqual(result.failed, {});
  }
  const waited = await culvert.connections(2, ({ tried }) => String(tried).endsWith(": timeout"));
  for (const { durationMs, result } of waited) {
    assert.equal(result, "ok");
    assert.ok(durationMs >= 1900 && durationMs < 4000, `${durationMs} ms`);
  }
});

test("when every endpoint is ejected, all are tried: the first that is back is used at once", async () => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh);
  const client = a.pod("client");
  const [near, far] = [a.pod("near"), b.pod("far")];
  const service = mesh.service("echo", { port: 7000, endpoints: [near, far] });
  const culvert = await a.culvert({ workers: 1 });
  const refused = await churn(client, service.ipv4, 7000, { connections: 50, concurrency: 8 });
  assert.equal(refused.succeeded, 0);
  assert.equal(await events(culvert, "ejected"), 2);
  const application = await far.start(await tool("echo"), "7000");
  await far.untilListening(application, [7000]);
  assert.equal((await churn(client, service.ipv4, 7000, { connections: 50 })).succeeded, 50);
});

test("a client address keeps to its endpoint where the service asks for it, across nodes", async () => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh, ["one", "one"]);
  const clients = ["c1", "c2", "c3", "c4", "c5", "c6"].map((name, i) => (i % 2 === 0 ? a : b).pod(name));
  const endpoints = [a.pod("web-1").serve(nginx()), b.pod("web-2").serve(nginx()), a.pod("web-3").serve(nginx())];
  const record = { sessionAffinity: "clientAddress" };
  const web = mesh.service("web", { port: 80, endpoints, record });
  await Promise.all([a.culvert(), b.culvert()]);
  const chosen = new Set<string>();
  for (const client of clients) {
    const output = await client.run("curl", "-sS", "-H", "Connection: close", `http://${web.ipv4}/?[1-12]`);
    const names = new Set(
      output
        .split("\n")
        .filter(Boolean)
        .map((line) => line.split(" ")[0]!),
    );
    assert.equal(names.size, 1, `${client.name}: ${[...names]}`);
    for (const name of names) chosen.add(name);
  }
  assert.ok(chosen.size > 1, "clients are spread");
});

test("endpoints on the other node that are removed and added under load: no failed connection", async (t) => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh, ["one", "one"]);
  const client = a.pod("client");
  const [near, far, further] = [a.pod("near"), b.pod("far"), b.pod("further")].map((pod) => pod.serve(echo(7000)));
  const service = mesh.service("echo", { port: 7000, endpoints: [near!, far!, further!] });
  const [culvert] = await Promise.all([a.culvert(), b.culvert()]);
  const loads = [
    await EndlessChurn.start(client, service.ipv4, 7000),
    await EndlessChurn.start(client, service.ipv6, 7000),
  ];
  for (const endpoints of [[near!], [far!], [further!, near!], [far!, further!], [near!, far!, further!]]) {
    service.endpoints = endpoints;
    await a.reload();
    await Promise.all(loads.map((load) => load.nextPhase()));
  }
  const results = await Promise.all(loads.map((load) => load.stop()));
  t.diagnostic(JSON.stringify(results));
  for (const phases of results) for (const { failed, direct } of phases) assert.deepEqual([failed, direct], [{}, 0]);
  // Dialled as it is, a service would be found by the node's route.
  const outbound = culvert.log.items.filter(({ msg, direction }) => msg === "connection" && direction === "outbound");
  assert.deepEqual([...new Set(outbound.map((it) => it.service))], ["default/echo:7000"]);
});

test("an endpoint on another node whose application is gone costs a client that waits for a greeting nothing: it is tried on another, and that one is ejected", async () => {
  await using mesh = await Mesh.start();
  const [a, b] = nodes(mesh);
  const client = a.pod("client");
  const endpoints = [b.pod("gone"), b.pod("there").serve(exim(7000))];
  const service = mesh.service("mail", { port: 7000, endpoints });
  const culvert = await a.culvert({ workers: 1 });
  await b.culvert();
  for (const address of [service.ipv4, service.ipv6]) {
    const before = await events(culvert, "retried");
    // Two of two at random: it is drawn before long, and once it is ejected it is not.
    do {
      const socket = await (await client.socket()).connect(address, 7000);
      assert.equal(await socket.receive(4), "220 ");
      await socket.close();
    } while ((await events(culvert, "retried")) === before);
  }
  assert.ok((await events(culvert, "ejected")) >= 2);
  const ejected = await culvert.log.find("its ejection", ({ msg }) => msg === "endpoint ejected");
  assert.match(String(ejected.endpoint), /^default\/gone /);
  const { tried, protocol } = await culvert.connection(({ tried: it }) => it !== undefined);
  assert.match(String(tried), /^default\/gone .*:7000: reset$/);
  assert.equal(protocol, "opaque");
});

for (const { what, says } of [
  { what: "its client", says: "client" },
  { what: "it", says: "server" },
]) {
  test(`a connection that another node's application resets after ${what} has spoken is a reset, and nobody's fault`, async () => {
    await using mesh = await Mesh.start();
    const [a, b] = nodes(mesh, ["one", "one"]);
    const far = mesh.node("c", { zone: "two" }).pod("far").serve(echo(7000));
    const client = a.pod("client");
    const near = b.pod("near");
    const service = mesh.service("either", { port: 7000, endpoints: [near, far] });
    const server = await near.listen(7000);
    const culvert = await a.culvert();
    await b.culvert();
    for (const address of [service.ipv4, service.ipv6]) {
      const socket = await (await client.socket()).connect(address, 7000);
      await server.accept();
      const [from, to] = says === "client" ? [socket, server] : [server, socket];
      await from.send("x");
      assert.equal(await to.receive(1), "x");
      await server.reset();
      assert.equal((await socket.ending()).end, "reset");
    }
    assert.deepEqual([await events(culvert, "retried"), await events(culvert, "ejected")], [0, 0]);
  });
}
