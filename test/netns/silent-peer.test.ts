// A machine that is gone says neither FIN nor RST. Without keep-alive and a user time-out its connections would stay for ever.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import type { MeshNode } from "./harness/mesh-node.ts";
import type { RemoteSocket } from "./harness/remote-socket.ts";

interface Peers {
  readonly node: MeshNode;
  readonly dead: Host;
  /** A connection with a dead and a living end, as [dead, alive]. */
  connect(family: 4 | 6): Promise<[RemoteSocket, RemoteSocket]>;
}

function declare(mesh: Mesh, direction: "outbound" | "inbound"): Peers {
  const node = mesh.node("a");
  const server = node.pod("server");
  const client = direction === "outbound" ? node.pod("client") : node.outside("laptop");
  const connect = async (family: 4 | 6): Promise<[RemoteSocket, RemoteSocket]> => {
    const served = await server.listen(7000 + family);
    const address = family === 4 ? server.ipv4 : server.ipv6;
    const dialled = await (await client.socket()).connect(address, 7000 + family);
    await served.accept();
    await dialled.send("x");
    assert.equal(await served.receive(1), "x");
    return direction === "outbound" ? [served, dialled] : [dialled, served];
  };
  return { node, dead: direction === "outbound" ? server : client, connect };
}

const cases = [
  { title: "a server whose link is down", direction: "outbound", side: "server" },
  { title: "a client outside whose link is down", direction: "inbound", side: "client" },
] as const;

for (const { title, direction, side } of cases) {
  test(`${title} is noticed, idle or sent to, over IPv4 and IPv6, and its peer's connection is reset`, async () => {
    await using mesh = await Mesh.start();
    const { node, dead, connect } = declare(mesh, direction);
    const culvert = await node.culvert({ peerTimeoutSeconds: 2 });
    const [, idle] = await connect(4);
    const [, sending] = await connect(6);
    await node.namespace.configure([`link set ${node.portOf(dead)} down`]);
    await sending.send("into the void");
    assert.deepEqual(await Promise.all([idle.ending(), sending.ending()]), Array(2).fill({ bytes: 0, end: "reset" }));
    const connections = await culvert.connections(2);
    for (const { result, error } of connections) {
      assert.equal(result, "timeout");
      assert.match(String(error), new RegExp(`the ${side} stopped acknowledging`));
    }
    assert.equal((await culvert.metrics()).sum("culvert_connections_open"), 0);
  });
}

test("both legs of a connection have keep-alive and a user time-out: by default 60 s idle, given up after 120 s", async () => {
  await using mesh = await Mesh.start();
  const { node, connect } = declare(mesh, "outbound");
  await node.culvert();
  await connect(4);
  await connect(6);
  // In the client's pod: the accepted socket on the mesh port or IPv6's spread ports, and the one towards the server.
  const sockets = await node.pod("client").run("ss", "-Htn", "-o", "state", "established");
  const timers = [...sockets.matchAll(/timer:\(keepalive,(\d+)(sec|min)/g)].map(
    ([, count, unit]) => Number(count) * (unit === "min" ? 60 : 1),
  );
  assert.equal(timers.length, 4, sockets);
  for (const seconds of timers) assert.ok(seconds > 30 && seconds <= 60, sockets);
});
