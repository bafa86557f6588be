// A process has so many descriptors and not one more. Running out of them costs the connections of that moment, nothing else.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";

function declare(mesh: Mesh) {
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("server").serve(echo(7000));
  const service = mesh.service("echo", { port: 7000, endpoints: [server] });
  return { node, client, server, service };
}

/** So many more descriptors than the process has now: the limit is one of their numbers, of which some below may be free. */
function limitTo(culvert: Culvert, spare: number): void {
  const open = new Set(readdirSync(`/proc/${culvert.pid}/fd`));
  let limit = 0;
  for (let free = 0; free < spare || open.has(`${limit}`); limit++) if (!open.has(`${limit}`)) free++;
  execFileSync("prlimit", ["--pid", `${culvert.pid}`, `--nofile=${limit}:`]);
}

function raise(culvert: Culvert): void {
  execFileSync("prlimit", ["--pid", `${culvert.pid}`, `--nofile=${hardLimit(culvert)}:`]);
}

function hardLimit(culvert: Culvert): number {
  return limits(culvert)[1];
}

function limits(culvert: Culvert): [soft: number, hard: number] {
  const [, soft, hard] = /^Max open files\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${culvert.pid}/limits`, "utf8"))!;
  return [Number(soft), Number(hard)];
}

test("the limit of open files is raised to the hard limit at the start, and said", async () => {
  await using mesh = await Mesh.start();
  const { node } = declare(mesh);
  const culvert = await node.culvert({ softDescriptors: 256 });
  const [soft, hard] = limits(culvert);
  assert.equal(soft, hard);
  assert.ok(hard > 256);
  assert.equal((await culvert.ready()).descriptors, hard);
});

test("out of descriptors, connections wait to be accepted, which is said, and are served when there are some again", async () => {
  await using mesh = await Mesh.start();
  const { node, client, service } = declare(mesh);
  const culvert = await node.culvert();
  limitTo(culvert, 0);
  const sockets = await Promise.all(
    [service.ipv4, service.ipv6].flatMap((address) =>
      [1, 2, 3, 4].map(async () => (await client.socket()).connect(address, 7000)),
    ),
  );
  for (const socket of sockets) await socket.send("x");
  const warning = await culvert.log.find("the warning", ({ msg }) => /wait to be accepted/.test(msg));
  assert.equal(warning.level, "warn");
  assert.match(warning.msg, /out of descriptors.*raise the limit/);
  raise(culvert);
  for (const socket of sockets) assert.equal(await socket.receive(1), "x");
  assert.ok((await culvert.metrics()).sum("culvert_worker_accept_errors_total") > 0);
});

test("out of descriptors while connecting, the client is reset, and later connections are as ever", async () => {
  await using mesh = await Mesh.start();
  const { node, client, service } = declare(mesh);
  const culvert = await node.culvert({ workers: 1 });
  limitTo(culvert, 1); // For the accepted socket, and none for the one to the server.
  const socket = await (await client.socket()).connect(service.ipv4, 7000);
  assert.equal((await socket.ending()).end, "reset");
  const { result, error } = await culvert.connection();
  assert.equal(result, "limit");
  assert.match(String(error), /out of descriptors; raise the limit/);
  raise(culvert);
  for (const address of [service.ipv4, service.ipv6]) {
    const { succeeded, direct, failed } = await churn(client, address, 7000, { connections: 500 });
    assert.deepEqual({ succeeded, direct, failed }, { succeeded: 500, direct: 0, failed: {} });
  }
});

test("under load with too few descriptors it neither ends nor hangs, and recovers", async () => {
  await using mesh = await Mesh.start();
  const { node, client, service } = declare(mesh);
  const culvert = await node.culvert();
  limitTo(culvert, 12);
  const starved = await churn(client, service.ipv4, 7000, { connections: 500, concurrency: 64 });
  assert.equal(starved.direct, 0, "none passes by");
  assert.ok(starved.succeeded > 0);
  raise(culvert);
  const { succeeded, direct, failed } = await churn(client, service.ipv6, 7000, { connections: 2000 });
  assert.deepEqual({ succeeded, direct, failed }, { succeeded: 2000, direct: 0, failed: {} });
  assert.ok(!culvert.hasExited);
});
