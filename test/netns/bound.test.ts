// An application may choose where its connections come from. Culvert leaves it that.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { Mesh } from "./harness/mesh.ts";
import { tool } from "./harness/tools.ts";

const families = [
  { family: 4, second: "10.244.1.200", any: "0.0.0.0", text: (address: string) => address },
  { family: 6, second: "fd00:244:1::200", any: "::", text: (address: string) => `[${address}]` },
] as const;

for (const { family, second, any, text } of families) {
  test(`over IPv${family}, a source address, a source port or both that the client bound stay its own; the server sees the pod`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const [client, server] = [node.pod("client"), node.pod("server")];
    const service = mesh.service("echo", { port: 7000, endpoints: [server] });
    const [own, dialled] = family === 4 ? [client.ipv4, service.ipv4] : [client.ipv6, service.ipv6];
    const culvert = await node.culvert();
    await client.namespace.configure([`address add ${second}/${family === 4 ? 32 : 128} dev lo`]);
    const cases = [
      { from: {}, local: `${text(own)}:` },
      { from: { from: second }, local: `${text(second)}:` },
      { from: { from: any, fromPort: 34_001 }, local: `${text(own)}:34001` },
      { from: { from: second, fromPort: 34_002 }, local: `${text(second)}:34002` },
      { from: { from: own, fromPort: 34_003 }, local: `${text(own)}:34003` },
    ];
    for (const { from, local } of cases) {
      const listener = await server.listen(7000);
      const socket = await (await client.socket()).connect(dialled, 7000, from);
      await listener.accept();
      const names = await socket.names();
      assert.equal(names.local.slice(0, local.length), local);
      assert.equal(names.peer, `${text(dialled)}:7000`);
      const { peer } = await listener.names();
      const seen = family === 4 ? `[::ffff:${own}]:` : `[${own}]:`;
      assert.equal(peer.slice(0, seen.length), seen);
      await socket.close();
      await listener.end();
      const connection = await culvert.connection(({ source }) => source === names.local);
      assert.equal(connection.result, "ok");
    }
  });
}

test("a socket bound to a device is not captured, over IPv4 and IPv6; a strict pod's fails", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, strict] = [node.pod("client"), node.pod("strict", { whenProxyDown: "deny" })];
  const server = node.pod("server", { enrolled: false }).serve(echo(7000));
  const culvert = await node.culvert();
  const dial = async (kind: string, address: string) => [
    await client.run(await tool("dial-as"), kind, address, "7000"),
    await strict.run(await tool("dial-as"), kind, address, "7000"),
  ];
  for (const address of [server.ipv4, server.ipv6]) {
    assert.deepEqual(await dial("tcp", address), ["connected", "connected"]);
    assert.deepEqual(await dial("device", address), ["connected directly", "connect: EPERM"]);
  }
  const metrics = await culvert.metrics();
  assert.equal(metrics.sum("culvert_capture_total", { reason: "pass_bound_to_device" }), 2);
  assert.equal(metrics.sum("culvert_capture_total", { reason: "deny_not_capturable" }), 2);
});
