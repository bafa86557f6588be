// FIN stays FIN and RST stays RST, in both directions: symptoms are truncated answers, hangs and invented resets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import { tcpState } from "./harness/namespace.ts";
import type { RemoteSocket } from "./harness/remote-socket.ts";
import type { Service } from "./harness/service.ts";

interface Pair {
  readonly culvert: Culvert;
  readonly client: RemoteSocket;
  readonly server: RemoteSocket;
}

/** Nodes from client to server; each has a proxy on the way. */
const ways = [
  { proxies: "one proxy", nodes: ["a"] },
  { proxies: "two proxies", nodes: ["a", "b"] },
] as const;

const families = [
  { family: "IPv4", address: (service: Service) => service.ipv4 },
  { family: "IPv6", address: (service: Service) => service.ipv6 },
];

/** A client and a server with a connection between them that has carried a byte each way. */
async function connectedPair(mesh: Mesh, { nodes: names, address }: Case): Promise<Pair> {
  const nodes = names.map((name) => mesh.node(name));
  const [clientPod, serverPod] = [nodes[0]!.pod("client"), nodes.at(-1)!.pod("server")];
  const service = mesh.service("server", { port: 7000, endpoints: [serverPod] });
  const server = await serverPod.listen(7000);
  const [culvert] = await Promise.all(nodes.map((node) => node.culvert()));
  const client = await (await clientPod.socket()).connect(address(service), 7000);
  await server.accept();
  for (const [from, to] of [[client, server] as const, [server, client] as const]) {
    await from.send("x");
    await to.receive(1);
  }
  return { culvert: culvert!, client, server };
}

const directions = [
  { name: "client", sides: ({ client, server }: Pair) => [client, server] as const },
  { name: "server", sides: ({ client, server }: Pair) => [server, client] as const },
];

type Case = (typeof ways)[number] & (typeof directions)[number] & (typeof families)[number];

const cases: readonly Case[] = ways.flatMap((way) =>
  directions.flatMap((direction) => families.map((family) => ({ ...way, ...direction, ...family }))),
);

for (const each of cases) {
  const { proxies, family, name, sides } = each;
  test(`through ${proxies}, over ${family}, a half-close by the ${name} is a FIN to the other side, which goes on sending`, async () => {
    await using mesh = await Mesh.start();
    const pair = await connectedPair(mesh, each);
    const [first, second] = sides(pair);
    await first.send("last words");
    await first.shutdown();
    assert.deepEqual(await second.ending(), { bytes: 10, end: "fin" });
    await second.send("still here");
    assert.equal(await first.receive(10), "still here");
    await second.close();
    assert.deepEqual(await first.ending(), { bytes: 0, end: "fin" });
    assert.equal((await pair.culvert.connection()).result, "ok");
  });

  test(`through ${proxies}, over ${family}, a RST by the ${name} is a RST to the other side`, async () => {
    await using mesh = await Mesh.start();
    const pair = await connectedPair(mesh, each);
    const [first, second] = sides(pair);
    await first.reset();
    assert.deepEqual(await second.ending(), { bytes: 0, end: "reset" });
    assert.equal((await pair.culvert.connection()).result, "reset");
  });

  test(`through ${proxies}, over ${family}, a RST by the ${name} after the other side's half-close is a RST still`, async () => {
    await using mesh = await Mesh.start();
    const pair = await connectedPair(mesh, each);
    const [first, second] = sides(pair);
    await second.shutdown();
    assert.deepEqual(await first.ending(), { bytes: 0, end: "fin" });
    await first.reset();
    assert.deepEqual(await second.ending(), { bytes: 0, end: "reset" });
    await pair.culvert.connection();
  });

  // The kernel tells it as EPOLLERR only: recv() goes on saying 0 after a FIN.
  test(`through ${proxies}, over ${family}, a RST by the ${name} after its own half-close is a RST still`, async () => {
    await using mesh = await Mesh.start();
    const pair = await connectedPair(mesh, each);
    const [first, second] = sides(pair);
    await first.shutdown();
    assert.deepEqual(await second.ending(), { bytes: 0, end: "fin" });
    await first.reset();
    assert.equal((await pair.culvert.connection()).result, "reset");
    // Nothing but a failed write tells it at the other side, after a FIN.
    await assert.rejects(async () => {
      for (let tries = 0; tries < 1000; tries++) {
        await second.send("x");
        await setTimeout(5);
      }
    }, /EPIPE|ECONNRESET/);
  });

  test(`through ${proxies}, over ${family}, bytes that the ${name} sent before it closed arrive before the FIN`, async () => {
    await using mesh = await Mesh.start();
    const pair = await connectedPair(mesh, each);
    const [first, second] = sides(pair);
    const sent = await first.fill(500_000);
    await first.close();
    assert.deepEqual(await second.ending(), { bytes: sent, end: "fin" });
    await second.close();
    await pair.culvert.connection();
  });
}

for (const { family, address } of families) {
  // A client that has closed answers the FIN from TIME_WAIT, without a socket's route. If that answer is lost, the proxy's
  // socket stays in LAST_ACK, and the client's next use of the port hangs.
  test(`over ${family}, a FIN long after the client has closed is acknowledged`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const [clientPod, serverPod] = [node.pod("client"), node.pod("server")];
    const service = mesh.service("server", { port: 7000, endpoints: [serverPod] });
    const server = await serverPod.listen(7000);
    const culvert = await node.culvert();
    const client = await (await clientPod.socket()).connect(address(service), 7000);
    await server.accept();
    await client.send("x");
    await client.close();
    assert.deepEqual(await server.ending(), { bytes: 1, end: "fin" });
    // Longer than a delayed acknowledgement (40 ms): the client's socket must be in FIN_WAIT_2.
    await setTimeout(150);
    await server.close();
    await culvert.connection();
    const inLastAck = () => clientPod.namespace.count(15001, tcpState.lastAck);
    for (let tries = 0; inLastAck() > 0 && tries < 100; tries++) await setTimeout(10);
    assert.equal(inLastAck(), 0, "the proxy's socket waits for an acknowledgement that does not come");
  });
}
