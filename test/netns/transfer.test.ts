// What is sent is what arrives.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Mesh } from "./harness/mesh.ts";
import { assertTransfers } from "./harness/transfer.ts";

const gibibyte = 2 ** 30;

test("1 GiB each way in random chunks, with pauses and half-closes, arrives with the same hash", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, server] = [node.pod("client"), node.pod("server")];
  const service = mesh.service("sink", { port: 7000, endpoints: [server] });
  const culvert = await node.culvert();
  const seed = Math.floor(Math.random() * 1e9);

  const start = performance.now();
  await assertTransfers({ client, server, address: service.ipv4, port: 7000, connections: 12, bytes: gibibyte, seed });
  t.diagnostic(`${((2 * gibibyte) / 1e6 / (performance.now() - start)).toFixed(2)} GB/s, seed ${seed}`);

  const connections = await culvert.connections(12);
  const total = (key: "bytesSent" | "bytesReceived") => connections.reduce((sum, event) => sum + event[key], 0);
  // The transfer's own byte per connection says which it is.
  assert.ok(Math.abs(total("bytesSent") - gibibyte) < 200, `${total("bytesSent")} bytes logged as sent`);
  assert.ok(Math.abs(total("bytesReceived") - gibibyte) < 200, `${total("bytesReceived")} bytes logged as received`);
  const metrics = await culvert.metrics();
  assert.equal(metrics.sum("culvert_bytes_total", { direction: "outbound", flow: "sent" }), total("bytesSent"));
  assert.equal(metrics.sum("culvert_worker_blocks_in_use"), 0, "blocks were not given back");
});

test("many connections of different sizes at once keep their bytes apart, with three workers, over IPv6", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, server] = [node.pod("client"), node.pod("server")];
  const service = mesh.service("sink", { port: 7000, endpoints: [server] });
  await node.culvert({ workers: 3 });
  for (const connections of [1, 60]) {
    const seed = Math.floor(Math.random() * 1e9);
    await assertTransfers({ client, server, address: service.ipv6, port: 7000, connections, bytes: 64e6, seed });
  }
});

test("what a captured inbound connection carries arrives with the same hash", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, server] = [node.outside("laptop"), node.pod("server")];
  const culvert = await node.culvert();
  const seed = Math.floor(Math.random() * 1e9);
  await assertTransfers({ client, server, address: server.ipv4, port: 7000, connections: 8, bytes: 64e6, seed });
  await culvert.connections(8, ({ direction }) => direction === "inbound");
});
