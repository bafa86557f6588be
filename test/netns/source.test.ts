// Whose address an application sees, and that no client meets a port which the proxy chose.

import assert from "node:assert/strict";
import { test } from "node:test";
import { firstSourcePort, lastSourcePort } from "../../src/proxy/source-ports.ts";
import { echo, nginx } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import type { Culvert } from "./harness/culvert.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";

const podCidrs = ["10.244.0.0/16", "fd00:244::/32"];
const port = 7000;

const families = [
  { family: "IPv4", of: (host: Host) => host.ipv4, url: (host: Host) => `http://${host.ipv4}/` },
  { family: "IPv6", of: (host: Host) => host.ipv6, url: (host: Host) => `http://[${host.ipv6}]/` },
] as const;

/** SYNs that arrived for a connection which had not ended: what a meeting of ports is to the kernel. */
function meetings(pod: Pod): number {
  return pod.namespace.counter("TcpExt", "TCPSYNChallenge");
}

/** Asks nginx whom it sees. */
async function seenBy(client: Host, url: string): Promise<{ address: string; port: number }> {
  const [, peer] = (await client.run("curl", "-sS", "--max-time", "10", url)).split(" ");
  const colon = peer!.lastIndexOf(":");
  return { address: peer!.slice(0, colon), port: Number(peer!.slice(colon + 1)) };
}

for (const { family, of, url } of families) {
  test(`an application sees the true address of a pod that is not enrolled, and of another node's pod, over ${family}`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const server = node.pod("server").serve(nginx());
    const clients = [node.pod("plain", { enrolled: false }), node.elsewhere("remote")];
    const culvert = await node.culvert({ podCidrs });

    for (const client of clients) {
      const seen = await seenBy(client, url(server));
      assert.equal(seen.address, of(client));
      assert.ok(seen.port >= firstSourcePort && seen.port <= lastSourcePort, `port ${seen.port}`);
    }
    for (const { source, seenAs, result } of await culvert.connections(clients.length)) {
      assert.ok(clients.some((client) => source.includes(of(client))));
      assert.deepEqual([seenAs, result], ["client", "ok"]);
    }
    assert.equal((await culvert.metrics()).sum("culvert_inbound_sources_total", { seen_as: "client" }), clients.length);
  });

  test(`clients outside of the mesh, of the node, and of what mesh.yaml says is a node see the pod's own address kept, over ${family}`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const server = node.pod("server").serve(nginx());
    const [outside, tunnel] = [node.outside("laptop"), node.elsewhere("tunnel")];
    const declared = { name: "b", addresses: [tunnel.ipv4, tunnel.ipv6] };
    const culvert = await node.culvert({ podCidrs, nodes: [declared] });

    const clients = [outside, tunnel, node.process("agent")];
    for (const client of clients) {
      assert.equal((await seenBy(client, url(server))).address, of(server), client.name);
    }
    for (const { source, seenAs } of await culvert.connections(clients.length)) {
      assert.ok(
        clients.some((client) => source.includes(of(client))),
        "the log has the true client",
      );
      assert.equal(seenAs, "pod");
    }
  });

  test(`node-sourced and outside clients that use every port of the proxy's range never hang, over ${family}`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const server = node.pod("server").serve(echo(port));
    const clients = [node.outside("laptop"), node.process("agent")];
    await node.culvert({ podCidrs });

    const before = meetings(server);
    for (const client of clients) {
      // Open all the while: each a port of the proxy's, were they kept.
      const held = await hold(client, of(server), 20);
      const options = { connections: 4000, firstSourcePort: firstSourcePort };
      const { succeeded, failed } = await churn(client, of(server), port, options);
      assert.deepEqual([succeeded, failed], [4000, {}], client.name);
      for (const socket of held) await socket.close();
    }
    assert.equal(meetings(server), before);
  });
}

async function hold(client: Host, address: string, count: number) {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = await (await client.socket()).connect(address, port);
      await socket.send("x");
      assert.equal(await socket.receive(1), "x");
      return socket;
    }),
  );
}

test("100,000 connections of ordinary clients never meet a port of ours", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const server = node.pod("server").serve(echo(port));
  const clients = Array.from({ length: 8 }, (_, i) =>
    i % 2 === 0 ? node.pod(`plain-${i}`, { enrolled: false }) : node.elsewhere(`remote-${i}`),
  );
  const culvert = await node.culvert({ podCidrs, workers: 3 });
  const before = meetings(server);
  // Connections that stay: their ports are taken all the while.
  const held = (await Promise.all(clients.map((client) => hold(client, server.ipv4, 4)))).flat();
  // Beyond 14,000 of one client to one address within a minute the search for a free port makes connecting slow.
  const runs = clients.flatMap((client) =>
    families.map(({ of }) => churn(client, of(server), port, { connections: 6250, concurrency: 8 })),
  );
  const results = await Promise.all(runs);
  t.diagnostic(JSON.stringify(results.map(({ seconds }) => seconds)));
  for (const { succeeded, failed } of results) assert.deepEqual([succeeded, failed], [6250, {}]);
  assert.equal(meetings(server), before);
  const metrics = await culvert.metrics();
  const seenAs = (how: string) => metrics.sum("culvert_inbound_sources_total", { seen_as: how });
  assert.deepEqual([seenAs("client"), seenAs("pod"), seenAs("pod_after_retry")], [100_032, 0, 0]);
  for (const socket of held) await socket.close();
});

for (const { family, of } of families) {
  test(`the residue: a remote client that itself binds the very port of a stream waits until that ends, over ${family}`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const server = node.pod("server");
    const client = node.elsewhere("remote");
    const listener = await server.listen(port);
    await node.culvert({ podCidrs });

    const first = await (await client.socket()).connect(of(server), port);
    await listener.accept();
    const ours = Number((await listener.names()).peer.split(":").at(-1));
    const before = meetings(server);
    const second = client
      .socket()
      .then((socket) => socket.connect(of(server), port, { from: of(client), fromPort: ours }));
    let isConnected = false;
    second.then(() => {
      isConnected = true;
    });
    while (meetings(server) === before) await new Promise((resolve) => setTimeout(resolve, 10)); // No event tells.
    assert.equal(isConnected, false);
    await first.close();
    await listener.close();
    await second; // By its next SYN.
    await listener.accept();
    assert.ok((await listener.names()).peer.includes(of(client)));
  });
}

test("an application whose listener has a mark of its own is reached under the pod's address, by a retry, which is counted and then learned", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const server = node.pod("server").serve(echo(port, 77));
  const client = node.elsewhere("remote");
  const culvert = await node.culvert({ podCidrs, workers: 1, connectTimeoutSeconds: 3 });

  for (const { of } of families) {
    const { succeeded, failed } = await churn(client, of(server), port, { connections: 2, concurrency: 1 });
    assert.deepEqual([succeeded, failed], [2, {}]);
  }
  const connections = await culvert.connections(4);
  assert.deepEqual(
    connections.map(({ seenAs, result }) => [seenAs, result]),
    [
      ["pod_after_retry", "ok"],
      ["pod_after_retry", "ok"],
      ["pod_after_retry", "ok"],
      ["pod", "ok"],
    ],
  );
  for (const { durationMs, seenAs } of connections) {
    if (seenAs !== "pod") assert.ok(durationMs >= 1400 && durationMs < 3000, `${durationMs} ms`);
  }
  const metrics = await culvert.metrics();
  assert.equal(metrics.sum("culvert_inbound_sources_total", { seen_as: "pod_after_retry" }), 3);
});

for (const { family, of } of families) {
  test(`a port that nobody listens on refuses a pod's connection at once, over ${family}`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const server = node.pod("server");
    const client = node.elsewhere("remote");
    const culvert: Culvert = await node.culvert({ podCidrs, connectTimeoutSeconds: 60 });
    // Its connect has succeeded: the proxy took it.
    const socket = await (await client.socket()).connect(of(server), port);
    assert.equal((await socket.ending()).end, "reset");
    assert.equal((await culvert.connection()).result, "refused");
  });
}

test("an address that the node gets later counts as the node's too", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const server = node.pod("server").serve(nginx());
  const culvert = await node.culvert({ podCidrs });
  const itself = node.process("agent");
  const late = "10.244.1.250";
  await itself.namespace.configure([`address add ${late}/32 dev pods`]);
  const [head] = families;
  for (;;) {
    const [, peer] = (await itself.run("curl", "-sS", "--interface", late, head.url(server))).split(" ");
    if (peer!.startsWith(`${server.ipv4}:`)) break; // It looks once a second.
  }
  const last = (await culvert.connections(1)).at(-1)!;
  assert.ok(last.source.startsWith(late));
});
