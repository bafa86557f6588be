// The command itself, with real applications, end to end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nginx } from "../../netns/harness/applications.ts";
import { Mesh } from "../../netns/harness/mesh.ts";

test("culvert node carries curl to a service and to a pod, over IPv4 and IPv6, inside the mesh and from outside", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const outside = node.outside("laptop");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web").serve(nginx())] });
  const culvert = await node.culvert();

  for (const address of [web.ipv4, `[${web.ipv6}]`]) {
    const answer = await client.run("curl", "-sS", "--max-time", "10", `http://${address}/`);
    assert.ok(answer.startsWith(`web ${address.includes(":") ? client.ipv6 : client.ipv4}:`), answer);
  }
  const served = node.pod("web");
  for (const address of [served.ipv4, `[${served.ipv6}]`]) {
    assert.match(await outside.run("curl", "-sS", "--max-time", "10", `http://${address}/`), /^web /);
  }
  const connections = await culvert.connections(4);
  assert.deepEqual(
    connections.map(({ direction, service, result }) => [direction, service, result]),
    [
      ["outbound", "default/web:80", "ok"],
      ["outbound", "default/web:80", "ok"],
      ["inbound", undefined, "ok"],
      ["inbound", undefined, "ok"],
    ],
  );
  assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
});
