// The mesh's own ports in pods (15001, 15006, 15008) are the proxy's alone, whether it runs or not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import { tool } from "./harness/tools.ts";

const meshPorts = [15_001, 15_006, 15_008];

function declare(mesh: Mesh) {
  const node = mesh.node("a");
  const [client, strict] = [node.pod("client"), node.pod("strict", { whenProxyDown: "deny" })];
  const server = node.pod("server").serve(echo(7000));
  const service = mesh.service("echo", { port: 7000, endpoints: [server] });
  return { node, client, strict, server, service };
}

test("nobody but the proxy binds a mesh port in a pod, over IPv4 or IPv6, while it runs and while it is down", async () => {
  await using mesh = await Mesh.start();
  const { node, client, strict } = declare(mesh);
  const culvert = await node.culvert();
  const assertDenied = async () => {
    for (const pod of [client, strict]) {
      const socket = await pod.socket();
      for (const address of ["::", "0.0.0.0", "127.0.0.1", "::1", pod.ipv4, pod.ipv6, `::ffff:${pod.ipv4}`]) {
        for (const port of meshPorts) {
          const what = `${address} port ${port}`;
          await assert.rejects(socket.bind(address, port), /EPERM/, what);
        }
      }
    }
  };
  await assertDenied();
  const denied = (await culvert.metrics()).sum("culvert_capture_total", { reason: "deny_bind" });
  assert.equal(denied, 2 * 7 * meshPorts.length);
  await culvert.kill();
  await assertDenied();
});

test("an impostor that listens on the mesh port while the proxy is down gets nothing, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const { node, client, strict, service } = declare(mesh);
  const culvert = await node.culvert();
  await culvert.kill();
  // The pods' own programs cannot bind it (above). One of another cgroup in their namespace can.
  const impostors = await Promise.all(
    [client, strict].map(async (pod) => {
      const impostor = await pod.socketOf(node.otherCgroup);
      await impostor.listen("::", 15_001);
      return impostor;
    }),
  );
  for (const address of [service.ipv4, service.ipv6]) {
    const [passed, denied] = [
      await churn(client, address, 7000, { connections: 50 }),
      await churn(strict, address, 7000, { connections: 50 }),
    ];
    assert.deepEqual([passed.direct, passed.failed], [50, {}]);
    assert.deepEqual([denied.direct, denied.failed], [0, { EPERM: 50 }]);
  }
  for (const impostor of impostors) assert.equal(await impostor.waiting(), 0, "connections for the impostor");
});

test("connecting to a mesh port directly gets a reset, over IPv4 and IPv6, from outside, from another pod and from the pod itself", async () => {
  await using mesh = await Mesh.start();
  const { node, client, server } = declare(mesh);
  const outside = node.outside("laptop");
  const culvert = await node.culvert();
  const dials: { from: Host; addresses: string[]; expected: RegExp }[] = [
    { from: outside, addresses: [server.ipv4, server.ipv6], expected: /^connect: ECONNREFUSED$/ },
    {
      from: server,
      addresses: [server.ipv4, server.ipv6, "127.0.0.1", "::1", "127.77.1.2"],
      expected: /^connect: ECONNREFUSED$/,
    },
  ];
  for (const { from, addresses, expected } of dials) {
    for (const address of addresses) {
      for (const port of [15_001, 15_006]) {
        const said = await from.run(await tool("dial-as"), "tcp", address, `${port}`);
        assert.match(said, expected, `${from.name} to ${address} port ${port}`);
      }
    }
  }
  // An enrolled pod is captured first: the reset is the proxy's, to which the port was refused.
  for (const address of [server.ipv4, server.ipv6]) {
    for (const port of [15_001, 15_006]) {
      const socket = await (await client.socket()).connect(address, port);
      assert.equal((await socket.ending()).end, "reset");
    }
  }
  const metrics = await culvert.metrics();
  assert.ok(metrics.sum("culvert_capture_total", { reason: "deny_no_record" }) >= 18);
  assert.equal(metrics.sum("culvert_connections_closed_total", { result: "refused" }), 4);
});
