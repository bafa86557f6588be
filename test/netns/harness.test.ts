// The harness itself, without Culvert: what the other files in this directory stand on.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { echo, nginx, redis } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import { Mesh } from "./harness/mesh.ts";

test("a service's address works without Culvert, over both families", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web-1").serve(nginx()), node.pod("web-2")] });
  const cache = mesh.service("cache", { port: 6379, endpoints: [node.pod("redis").serve(redis())] });

  assert.equal(await client.run("curl", "-s", `http://${web.ipv4}/`).then(firstWord), "web-1");
  assert.equal(await client.run("curl", "-s", `http://[${web.ipv6}]/`).then(firstWord), "web-1");
  assert.equal(await client.run("redis-cli", "-h", cache.ipv4, "ping"), "PONG");
  assert.equal(await client.run("redis-cli", "-h", cache.ipv6, "ping"), "PONG");
});

test("a host outside the mesh is reached through the node's router, and reaches pods", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client").serve(nginx());
  const outside = node.outside("database").serve(nginx());

  assert.match(await client.run("curl", "-s", `http://${outside.ipv4}/`), new RegExp(`^database ${client.ipv4}:`));
  assert.match(await outside.run("curl", "-s", `http://[${client.ipv6}]/`), new RegExp(`^client ${outside.ipv6}:`));
});

test("a remote socket tells FIN from RST and says its names as the kernel does", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, server] = [node.pod("client"), node.pod("server")];
  const listener = await server.listen(7000);
  const socket = await (await client.socket()).connect(`::ffff:${server.ipv4}`, 7000);
  await listener.accept();

  const { local, peer } = await socket.names();
  assert.match(local, new RegExp(`^\\[::ffff:${client.ipv4}\\]:`));
  assert.equal(peer, `[::ffff:${server.ipv4}]:7000`);
  await socket.send("ping");
  await socket.shutdown();
  assert.equal(await listener.receive(4), "ping");
  assert.deepEqual(await listener.ending(), { bytes: 0, end: "fin" });
  await listener.send("pong");
  assert.equal(await socket.receive(4), "pong");
  await listener.reset();
  assert.deepEqual(await socket.ending(), { bytes: 0, end: "reset" });
});

test("a remote socket's calls fail with the errno's name", async () => {
  await using mesh = await Mesh.start();
  const socket = await mesh.node("a").pod("client").socket();
  await assert.rejects(socket.connect("127.0.0.1", 1), /ECONNREFUSED/);
});

test("churn counts connections that fail", async () => {
  await using mesh = await Mesh.start();
  const client = mesh.node("a").pod("client").serve(echo(7000));
  const good = await churn(client, "127.0.0.1", 7000, { connections: 1000 });
  assert.deepEqual([good.succeeded, good.failed], [1000, {}]);
  const bad = await churn(client, "127.0.0.1", 7001, { connections: 10 });
  assert.deepEqual([bad.succeeded, bad.failed], [0, { ECONNREFUSED: 10 }]);
});

test("two meshes with the same addresses stand side by side", async () => {
  await using first = await Mesh.start();
  await using second = await Mesh.start();
  const names = await Promise.all(
    [first, second].map(async (mesh, i) => {
      const node = mesh.node("a");
      const server = node.pod("server").serve(nginx());
      const name = node.pod(`client-${i}`);
      const answer = await name.run("curl", "-s", `http://${server.ipv4}/`);
      assert.match(answer, /^server 10\.244\.1\.3:/);
      return mesh.cgroup;
    }),
  );
  assert.notEqual(names[0], names[1]);
});

test("a runner killed with -9 leaves no process, no namespace, no cgroup and no file behind", async () => {
  const script = join(dirname(fileURLToPath(import.meta.url)), "harness/never-ending-mesh.ts");
  const runner = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: runner.stdout })
      .once("line", resolve)
      .once("close", () => reject(new Error("no mesh")));
  });
  const { cgroup, directory, pids } = JSON.parse(line) as { cgroup: string; directory: string; pids: number[] };
  assert.ok(pids.length >= 3 && pids.every((pid) => existsSync(`/proc/${pid}`)));

  runner.kill("SIGKILL");
  const gone = () => !existsSync(cgroup) && !existsSync(directory) && !pids.some((pid) => existsSync(`/proc/${pid}`));
  const deadline = performance.now() + 10_000;
  while (!gone() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(gone(), `left: ${[cgroup, directory, ...pids.map((pid) => `/proc/${pid}`)].filter(existsSync).join(" ")}`);
});

function firstWord(text: string): string {
  return text.split(" ")[0]!;
}
