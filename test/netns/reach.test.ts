// Applications reach services through Culvert and cannot tell.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo, nginx, redis } from "./harness/applications.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";
import type { Service } from "./harness/service.ts";

const webs = ["web-1", "web-2", "web-3"];

function declareWeb(mesh: Mesh): { client: Pod; web: Service } {
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: webs.map((name) => node.pod(name).serve(nginx())) });
  return { client, web };
}

const dialects = [
  { name: "IPv4", host: (web: Service) => web.ipv4, peer: (pod: Pod) => pod.ipv4 },
  { name: "IPv6", host: (web: Service) => `[${web.ipv6}]`, peer: (pod: Pod) => pod.ipv6 },
  // What Java and Node do for IPv4 on a dual-stack machine.
  { name: "v4-mapped IPv6", host: (web: Service) => `[::ffff:${web.ipv4}]`, peer: (pod: Pod) => pod.ipv4 },
];

for (const { name, host, peer } of dialects) {
  test(`curl reaches all endpoints of a service over ${name}, none favoured`, async () => {
    await using mesh = await Mesh.start();
    const { client, web } = declareWeb(mesh);
    const culvert = await mesh.node("a").culvert();

    // One connection each. An endpoint that is slow to close is chosen less, so shares are even only roughly.
    const output = await client.run("curl", "-sS", "-H", "Connection: close", `http://${host(web)}/?[1-300]`);
    const answers = output.split("\n").filter((line) => line !== "");
    assert.equal(answers.length, 300);
    for (const endpoint of webs) {
      const share = answers.filter((answer) => answer.startsWith(`${endpoint} `)).length;
      assert.ok(share >= 25 && share <= 200, `${endpoint} answered ${share} of 300`);
    }
    assert.ok(
      answers.every((answer) => answer.split(" ")[1]!.startsWith(`${peer(client)}:`)),
      "server saw another peer",
    );
    const connections = await culvert.connections(300);
    assert.equal(connections.length, 300);
    assert.ok(connections.every(({ service, result }) => service === "default/web:80" && result === "ok"));
  });
}

test("redis-cli reaches redis over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const cache = mesh.service("cache", { port: 6379, endpoints: [node.pod("redis").serve(redis())] });
  const culvert = await node.culvert();

  assert.equal(await client.run("redis-cli", "-h", cache.ipv4, "set", "key", "value"), "OK");
  assert.equal(await client.run("redis-cli", "-h", cache.ipv6, "get", "key"), "value");
  const destinations = (await culvert.connections(2)).map(({ destination }) => destination);
  assert.deepEqual(destinations, [`${cache.ipv4}:6379`, `[${cache.ipv6}]:6379`]);
});

test("getpeername is what the client dialled and getsockname its own address, in the form it used", async () => {
  await using mesh = await Mesh.start();
  const { client, web } = declareWeb(mesh);
  const culvert = await mesh.node("a").culvert();
  const cases = [
    { dialled: web.ipv4, peer: `${web.ipv4}:80`, local: `${client.ipv4}:` },
    { dialled: web.ipv6, peer: `[${web.ipv6}]:80`, local: `[${client.ipv6}]:` },
    { dialled: `::ffff:${web.ipv4}`, peer: `[::ffff:${web.ipv4}]:80`, local: `[::ffff:${client.ipv4}]:` },
  ];
  for (const { dialled, peer, local } of cases) {
    const socket = await (await client.socket()).connect(dialled, 80);
    const names = await socket.names();
    assert.equal(names.peer, peer);
    assert.equal(names.local.slice(0, local.length), local);
    await socket.close();
  }
  await culvert.connections(cases.length);
});

test("a pod is reached by its own address through the proxy, and by a service's target port", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("server").serve(nginx({ port: 8080 }));
  const web = mesh.service("web", { port: 80, targetPort: 8080, endpoints: [server] });
  const culvert = await node.culvert();

  assert.match(await client.run("curl", "-sS", `http://${server.ipv4}:8080/`), /^server /);
  assert.match(await client.run("curl", "-sS", `http://${web.ipv6}/`.replace(web.ipv6, `[${web.ipv6}]`)), /^server /);
  const [direct, service] = await culvert.connections(2);
  assert.equal(direct!.destination, `${server.ipv4}:8080`);
  assert.equal(service!.endpoint, `default/server [${server.ipv6}]:8080`);
});

test("a pod that is both client and endpoint reaches its own service", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const pod = node.pod("both").serve(nginx());
  const web = mesh.service("web", { port: 80, endpoints: [pod] });
  const culvert = await node.culvert();

  for (const address of [web.ipv4, `[${web.ipv6}]`]) {
    assert.match(await pod.run("curl", "-sS", `http://${address}/`), /^both /);
  }
  await culvert.connections(2, ({ direction, result }) => direction === "outbound" && result === "ok");
});

test("plaintext from outside the mesh to an enrolled pod passes through the proxy, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const outside = node.outside("laptop");
  const server = node.pod("server").serve(nginx());
  const culvert = await node.culvert();

  assert.match(await outside.run("curl", "-sS", `http://${server.ipv4}/`), /^server /);
  assert.match(await outside.run("curl", "-sS", `http://[${server.ipv6}]/`), /^server /);
  const [four, six] = await culvert.connections(2, ({ direction }) => direction === "inbound");
  assert.equal(four!.destination, `${server.ipv4}:80`);
  assert.equal(six!.destination, `[${server.ipv6}]:80`);
  assert.ok(four!.source.startsWith(`${outside.ipv4}:`) && six!.source.startsWith(`[${outside.ipv6}]:`));
  assert.equal(four!.pod, "default/server");
});

test("three workers share the connections of one pod", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
  const culvert: Culvert = await node.culvert({ workers: 3 });

  const sockets = await Promise.all(
    Array.from({ length: 12 }, async () => (await client.socket()).connect(service.ipv4, 7000)),
  );
  for (const socket of sockets) {
    await socket.send("x");
    assert.equal(await socket.receive(1), "x");
  }
  const metrics = await culvert.metrics();
  const shares = [0, 1, 2].map((worker) => metrics.sum("culvert_worker_open_connections", { worker: `${worker}` }));
  assert.ok(Math.min(...shares) > 0, `open connections by worker: ${shares}`);
  assert.equal(metrics.sum("culvert_connections_open", { direction: "outbound" }), 12);
});
