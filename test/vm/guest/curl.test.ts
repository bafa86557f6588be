// The command itself, with real applications, end to end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nginx } from "../../netns/harness/applications.ts";
import type { Host } from "../../netns/harness/host.ts";
import { Mesh } from "../../netns/harness/mesh.ts";

test("culvert node carries curl to a service and to a pod, over IPv4 and IPv6, inside the mesh and from outside", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const outside = node.outside("laptop");
  const served = node.pod("web").serve(nginx());
  const web = mesh.service("web", { port: 80, endpoints: [served] });
  const culvert = await node.culvert();

  const curl = (from: Host, host: string) =>
    from.run("curl", "-sS", "--max-time", "20", "-w", "%{remote_ip} %{local_ip}", `http://${host}/`);
  const { ipv4, ipv6 } = client;
  for (const { host, sees, peer, local } of [
    { host: web.ipv4, sees: ipv4, peer: web.ipv4, local: ipv4 },
    { host: `[${web.ipv6}]`, sees: ipv6, peer: web.ipv6, local: ipv6 },
    { host: `[::ffff:${web.ipv4}]`, sees: ipv4, peer: `::ffff:${web.ipv4}`, local: `::ffff:${ipv4}` },
  ]) {
    const [answer, names] = (await curl(client, host)).split("\n");
    assert.ok(answer?.startsWith(`web ${sees}:`), `the server saw the client: ${answer}`);
    assert.equal(names, `${peer} ${local}`, "getpeername and getsockname");
  }
  for (const host of [served.ipv4, `[${served.ipv6}]`]) assert.match(await curl(outside, host), /^web /);

  const connections = await culvert.connections(5);
  const summaries = connections.map(({ direction, service, result }) => [direction, service, result].join(" "));
  const outbound = "outbound default/web:80 ok";
  assert.deepEqual(summaries, [outbound, outbound, outbound, "inbound  ok", "inbound  ok"]);
  assert.deepEqual(await culvert.terminate(), { code: 0, signal: null });
});
