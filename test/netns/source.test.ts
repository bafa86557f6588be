// Whose address an application sees.

import assert from "node:assert/strict";
import { test } from "node:test";
import { firstSourcePort, lastSourcePort } from "../../src/proxy/source-ports.ts";
import { echo, nginx } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import type { Culvert } from "./harness/culvert.ts";
import type { Host } from "./harness/host.ts";
import { patienceMs } from "./harness/journal.ts";
import { Mesh } from "./harness/mesh.ts";

const podCidrs = ["10.244.0.0/16", "fd00:244::/32"];
const port = 7000;

const families = [
  { family: "IPv4", of: (host: Host) => host.ipv4, url: (host: Host) => `http://${host.ipv4}/` },
  { family: "IPv6", of: (host: Host) => host.ipv6, url: (host: Host) => `http://[${host.ipv6}]/` },
] as const;

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

  test(`clients outside of the mesh, of the node, and of what mesh.yaml says is a node are seen under the pod's own address, over ${family}`, async () => {
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
}

test("an application whose listener has a mark of its own is reached under the pod's address, by a retry, which is counted and then learned", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const server = node.pod("server").serve(echo(port, 77));
  const client = node.elsewhere("remote");
  const culvert = await node.culvert({ podCidrs, workers: 1, connectTimeoutSeconds: 4 });

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
    if (seenAs !== "pod") assert.ok(durationMs >= 1900 && durationMs < 4000, `${durationMs} ms`);
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
  let peer = "";
  // It looks once a second.
  for (const end = performance.now() + patienceMs; performance.now() < end && !peer.startsWith(`${server.ipv4}:`); ) {
    peer = (await itself.run("curl", "-sS", "--interface", late, head.url(server))).split(" ")[1]!;
  }
  assert.ok(peer.startsWith(`${server.ipv4}:`), peer);
  const last = (await culvert.connections(1)).at(-1)!;
  assert.ok(last.source.startsWith(late));
});
