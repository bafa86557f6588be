// Symptom: a client that stops reading makes the proxy's memory grow until the node is out of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Mesh } from "./harness/mesh.ts";

const mebibyte = 2 ** 20;
/** Socket buffers of four sockets (tcp_wmem and tcp_rmem allow 4 and 6 MiB each) and a few blocks of the proxy. */
const enough = 32 * mebibyte;

test("a reader that never reads stops its writer, and later gets every byte", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const reader = await node.pod("server").listen(7000);
  const service = mesh.service("server", { port: 7000, endpoints: [node.pod("server")] });
  const culvert = await node.culvert();
  const writer = await (await client.socket()).connect(service.ipv4, 7000);
  await reader.accept();

  const sent = await writer.fill(1024 * mebibyte);
  assert.ok(sent < enough, `${sent} bytes were taken from the writer`);
  await writer.shutdown();
  assert.deepEqual(await reader.ending(), { bytes: sent, end: "fin" });
  await reader.close();
  assert.equal((await culvert.connection()).bytesSent, sent);
});

test("memory stays bounded with many readers that never read, and other connections go on", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, server, other] = [node.pod("client"), node.pod("server"), node.pod("other")];
  const service = mesh.service("server", { port: 7000, endpoints: [server] });
  await server.listen(7000);
  const culvert = await node.culvert();
  const before = culvert.residentBytes();

  // The listener's backlog holds them: nobody accepts, nobody reads.
  const writers = await Promise.all(
    Array.from({ length: 64 }, async () => (await client.socket()).connect(service.ipv4, 7000)),
  );
  const sent = await Promise.all(writers.map((writer) => writer.fill(256 * mebibyte)));
  const total = sent.reduce((sum, bytes) => sum + bytes, 0);
  const grown = culvert.residentBytes() - before;
  const blocks = (await culvert.metrics()).sum("culvert_worker_blocks_in_use");
  t.diagnostic(
    `${total / mebibyte} MiB stuck, resident memory grew by ${grown / mebibyte} MiB, ${blocks} blocks in use`,
  );
  assert.ok(Math.max(...sent) < enough, `${Math.max(...sent)} bytes were taken from one writer`);
  assert.ok(grown < 128 * mebibyte, `resident memory grew by ${grown} bytes`);

  const reader = await other.listen(7000);
  const writer = await (await client.socket()).connect(other.ipv4, 7000);
  await reader.accept();
  await writer.send("not stuck");
  assert.equal(await reader.receive(9), "not stuck");
});
