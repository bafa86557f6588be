// Between two pods of a node the proxy connects from the client's namespace, also where the network in between plays tricks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nginx } from "./harness/applications.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";
import { rewriteSources } from "./harness/rewrite-sources.ts";
import type { Service } from "./harness/service.ts";

function declare(mesh: Mesh) {
  const node = mesh.node("a");
  const [client, other] = [node.pod("client"), node.pod("other")];
  const server = node.pod("server").serve(nginx());
  const web = mesh.service("web", { port: 80, endpoints: [server] });
  return { node, client, other, server, web };
}

const families = [
  { family: "IPv4", url: (web: Service) => `http://${web.ipv4}/`, own: (pod: Pod) => `${pod.ipv4}:` },
  { family: "IPv6", url: (web: Service) => `http://[${web.ipv6}]/`, own: (pod: Pod) => `${pod.ipv6}:` },
];

/** The peer that the server saw. */
async function peerSeen(client: Pod, url: string): Promise<string> {
  const [name, peer] = (await client.run("curl", "-sS", "--max-time", "20", url)).split(" ");
  assert.equal(name, "server");
  return peer!;
}

function told(culvert: Culvert, family: string) {
  return culvert.log.items.filter(({ msg, family: of }) => /NetworkPolicy is not applied/.test(msg) && of === family);
}

for (const { family, url, own } of families) {
  test(`over ${family}, the server sees the client pod's address and one connection, and nothing is captured twice`, async () => {
    await using mesh = await Mesh.start();
    const { node, client, web } = declare(mesh);
    const culvert = await node.culvert({ workers: 1 });
    for (let i = 0; i < 5; i++) {
      const peer = await peerSeen(client, url(web));
      assert.ok(peer.startsWith(own(client)), peer);
    }
    await culvert.connections(5);
    const metrics = await culvert.metrics();
    assert.equal(metrics.sum("culvert_connections_opened_total", { direction: "inbound" }), 0);
    assert.equal(metrics.sum("culvert_capture_total", { reason: "pass_bypass" }), 5);
    assert.equal(metrics.sum("culvert_rewritten_pairs"), 0);
    assert.deepEqual(told(culvert, family), []);
  });

  test(`over ${family}, where the network rewrites sources, a pair's first connection finds out and works; the rest are made in the server's namespace, which is said once and counted`, async () => {
    await using mesh = await Mesh.start();
    const { node, client, other, server, web } = declare(mesh);
    await mesh.up();
    const aliases = await rewriteSources(node, client, server);
    const direct = await peerSeen(client, url(web).replace(web.ipv4, server.ipv4).replace(web.ipv6, server.ipv6));
    assert.ok(
      aliases.some((alias) => direct.startsWith(`${alias}:`)),
      `sources are rewritten: ${direct}`,
    );

    const culvert = await node.culvert({ workers: 1 });
    for (let i = 0; i < 5; i++) {
      const peer = await peerSeen(client, url(web));
      assert.ok(peer.startsWith(own(server)), `made in the server's namespace, not from ${peer}`);
    }
    const peer = await peerSeen(other, url(web));
    assert.ok(peer.startsWith(own(other)), "other pairs are as ever");

    const connections = await culvert.connections(6, ({ direction }) => direction === "outbound");
    assert.deepEqual(
      connections.map(({ result, transport, pod }) => [result, transport, pod]),
      [...Array(5).fill(["ok", "local", "default/client"]), ["ok", "local", "default/other"]],
    );
    const metrics = await culvert.metrics();
    // The first one's trial; nothing after it is captured a second time.
    assert.equal(metrics.sum("culvert_connections_opened_total", { direction: "inbound" }), 1);
    assert.equal(metrics.sum("culvert_rewritten_pairs", { family }), 1);
    assert.equal(metrics.sum("culvert_rewritten_pairs"), 1);
    const lines = told(culvert, family);
    assert.deepEqual(
      lines.map(({ level, client: from, server: to }) => [level, from, to]),
      [["warn", "default/client", "default/server"]],
    );
    assert.match(lines[0]!.msg, /rewrites the source of connections/);
  });
}
