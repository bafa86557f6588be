// Ports that the proxy chooses are met neither by clients that choose theirs in the same range and whose addresses are not
// kept, nor by what a client has bound itself before; and what becomes of one that meets one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { firstSourcePort } from "../../src/proxy/source-ports.ts";
import { echo } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import { hold, meetings } from "./harness/source-meetings.ts";

const podCidrs = ["10.244.0.0/16", "fd00:244::/32"];
const port = 7000;

const families = [
  { family: "IPv4", of: (host: Host) => host.ipv4 },
  { family: "IPv6", of: (host: Host) => host.ipv6 },
] as const;

for (const { family, of } of families) {
  test(`node-sourced and outside clients that use ports of the proxy's range never hang, over ${family}`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const server = node.pod("server").serve(echo(port));
    const clients = [node.outside("laptop"), node.process("agent")];
    await node.culvert({ podCidrs });

    const before = meetings(server);
    for (const client of clients) {
      // Open all the while: each a port of the proxy's, were they kept.
      const held = await hold(client, of(server), port, 20);
      const options = { connections: 4000, firstSourcePort: firstSourcePort };
      const { succeeded, failed } = await churn(client, of(server), port, options);
      assert.deepEqual([succeeded, failed], [4000, {}], client.name);
      for (const socket of held) await socket.close();
    }
    assert.equal(meetings(server), before);
  });
}

for (const { family, of } of families) {
  test(`a port of the range that a client has bound itself is never chosen for it, over ${family}`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const server = node.pod("server").serve(echo(port));
    const client = node.elsewhere("remote");
    await node.culvert({ podCidrs });
    for (let i = 0, fromPort = firstSourcePort; i < 40; i++, fromPort++) {
      while (server.namespace.peerPorts(port).has(fromPort)) fromPort++; // The residue.
      const socket = await (await client.socket()).connect(of(server), port, { from: of(client), fromPort });
      await socket.send("x");
      assert.equal(await socket.receive(1), "x");
    }
    // Were each port as good as any other, nine of these would meet one of the forty.
    const { succeeded, failed } = await churn(client, of(server), port, { connections: 5000 });
    assert.deepEqual([succeeded, failed], [5000, {}]);
    assert.equal(meetings(server), 0);
  });

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
