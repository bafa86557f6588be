// An endpoint that cannot be reached. The client's connect has succeeded by then, as it was made to the proxy: what it sees is
// a reset, within the connect time-out. Only what is known before is refused before (guard.test.ts: no endpoint).

import assert from "node:assert/strict";
import { test } from "node:test";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";

const cases = [
  {
    what: "refuses",
    result: "refused",
    error: /refused/,
    prevent: () => [],
  },
  {
    what: "does not answer",
    result: "timeout",
    error: /no answer within 1000 ms/,
    // Nobody has that hardware address: what is sent there is lost.
    prevent: ({ ipv4, ipv6 }: Pod) =>
      [ipv4, ipv6].map((address) => `neigh replace ${address} lladdr 02:00:00:00:00:99 dev eth0 nud permanent`),
  },
  {
    what: "has no route to it",
    result: "unreachable",
    error: /route/,
    prevent: ({ ipv4, ipv6 }: Pod) => [`route add unreachable ${ipv4}/32`, `route add unreachable ${ipv6}/128`],
  },
];

for (const { what, result, error, prevent } of cases) {
  test(`an endpoint that ${what} resets the client within the connect time-out, over IPv4 and IPv6, dialled as service or itself`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const [client, server] = [node.pod("client"), node.pod("server")];
    const web = mesh.service("web", { port: 7000, endpoints: [server] });
    const culvert = await node.culvert({ connectTimeoutSeconds: 1 });
    await client.namespace.configure(prevent(server));

    for (const address of [web.ipv4, web.ipv6, server.ipv4, server.ipv6]) {
      const socket = await (await client.socket()).connect(address, 7000);
      assert.equal((await socket.ending()).end, "reset", address);
    }
    const connections = await culvert.connections(4);
    assert.deepEqual(new Set(connections.map((connection) => connection.result)), new Set([result]));
    for (const { error: told, durationMs } of connections) {
      assert.match(String(told), error);
      if (result === "timeout") assert.ok(durationMs >= 900 && durationMs < 6000, `${durationMs} ms`);
    }
    const metrics = await culvert.metrics();
    assert.equal(metrics.sum("culvert_connections_closed_total", { direction: "outbound", result }), 4);
  });
}

test("an application that does not listen resets what arrives from outside, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [server, outside] = [node.pod("server"), node.outside("laptop")];
  const culvert = await node.culvert();
  for (const address of [server.ipv4, server.ipv6]) {
    const socket = await (await outside.socket()).connect(address, 7000);
    assert.equal((await socket.ending()).end, "reset", address);
  }
  const connections = await culvert.connections(2);
  assert.deepEqual(
    connections.map(({ direction, result }) => [direction, result]),
    Array(2).fill(["inbound", "refused"]),
  );
});
