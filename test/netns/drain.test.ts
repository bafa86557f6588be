// Stopping: what is open finishes, what is new goes past.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nginx } from "./harness/applications.ts";
import type { Culvert, CulvertOptions } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";
import type { RemoteSocket } from "./harness/remote-socket.ts";

interface Opened {
  readonly culvert: Culvert;
  readonly clientPod: Pod;
  readonly client: RemoteSocket;
  readonly server: RemoteSocket;
  readonly url: string;
}

/** An open connection through the proxy. */
async function openConnection(mesh: Mesh, options: CulvertOptions = {}): Promise<Opened> {
  const node = mesh.node("a");
  const clientPod = node.pod("client");
  const server = await node.pod("server").serve(nginx()).listen(7000);
  const service = mesh.service("server", { port: 7000, endpoints: [node.pod("server")] });
  const culvert = await node.culvert(options);
  const client = await (await clientPod.socket()).connect(service.ipv4, 7000);
  await server.accept();
  await client.send("x");
  await server.receive(1);
  const url = `http://${node.pod("server").ipv4}/`;
  return { culvert, clientPod, client, server, url };
}

test("SIGTERM lets open connections finish, passes new ones by, and exits 0 when the last has ended", async () => {
  await using mesh = await Mesh.start();
  const opened = await openConnection(mesh);
  const { culvert, clientPod, client, server, url } = opened;
  const ended = culvert.exited();
  culvert.signal("SIGTERM");
  await culvert.log.find("draining", ({ msg }) => /drain/.test(msg));

  assert.match(await clientPod.run("curl", "-sS", url), /^server /);
  await client.send("after SIGTERM");
  assert.equal(await server.receive(13), "after SIGTERM");
  assert.equal(culvert.hasExited, false);
  await client.close();
  assert.deepEqual(await server.ending(), { bytes: 0, end: "fin" });
  await server.close();
  assert.deepEqual(await ended, { code: 0, signal: null });
  const connections = culvert.log.items.filter(({ msg }) => msg === "connection");
  assert.deepEqual(
    connections.map(({ result, bytesSent }) => ({ result, bytesSent })),
    [{ result: "ok", bytesSent: 14 }],
  );
});

test("a drain that takes longer than drainTimeoutSeconds is cut short", async () => {
  await using mesh = await Mesh.start();
  const opened = await openConnection(mesh, { drainTimeoutSeconds: 1 });
  assert.deepEqual(await opened.culvert.terminate(), { code: 0, signal: null });
  assert.equal((await opened.server.ending()).end, "reset");
});

test("a worker that hangs does not keep a drain from its end", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("server").serve(nginx());
  const env = { CULVERT_TEST_BUSY: "0", NODE_ENV: "test" };
  const culvert = await node.culvert({ workers: 1, drainTimeoutSeconds: 1, env });
  const stuck = await (await client.socket()).connect(server.ipv4, 80);
  await culvert.log.find("that it hangs", ({ msg }) => /worker hangs/.test(msg));
  const ended = culvert.exited();
  culvert.signal("SIGTERM");
  assert.deepEqual(await ended, { code: 1, signal: null });
  assert.ok(culvert.log.items.some(({ msg, level }) => level === "error" && /ends without it/.test(msg)));
  assert.match(await client.run("curl", "-sS", `http://${server.ipv4}/`), /^server /);
  await stuck.ending();
});

test("a second SIGTERM ends it at once", async () => {
  await using mesh = await Mesh.start();
  const opened = await openConnection(mesh, { drainTimeoutSeconds: 60 });
  const ended = opened.culvert.exited();
  opened.culvert.signal("SIGTERM");
  await opened.culvert.log.find("draining", ({ msg }) => /drain/.test(msg));
  opened.culvert.signal("SIGTERM");
  // 0 would be the drain, in its own time.
  assert.deepEqual(await ended, { code: 1, signal: null });
  await opened.server.ending();
});

test("/ready says no while it drains, with the reason", async () => {
  await using mesh = await Mesh.start();
  const opened = await openConnection(mesh);
  assert.equal((await opened.culvert.get("/ready")).status, 200);
  opened.culvert.signal("SIGTERM");
  await opened.culvert.log.find("draining", ({ msg }) => /drain/.test(msg));
  const { status, body } = await opened.culvert.get("/ready");
  assert.equal(status, 503);
  assert.match(body, /drain/);
});
