// What is not the mesh's is left alone: the server's peer is the client's own socket, port and all.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nginx } from "./harness/applications.ts";
import type { Culvert } from "./harness/culvert.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Pod } from "./harness/pod.ts";

/** Connects and asserts that no proxy stands between: the port that nginx sees is the one that curl used. */
async function assertUntouched(client: Host, url: string): Promise<void> {
  const answer = await client.run("curl", "-sS", "-w", "%{local_port}", url);
  const [line, localPort] = answer.split("\n");
  const peer = line!.split(" ")[1]!;
  assert.ok(peer.endsWith(`:${localPort}`), `${url}: the server's peer is ${peer}, the client's port ${localPort}`);
}

/** The log has a line for the one captured connection that is made now, and none for those before. */
async function assertOnlyConnection(culvert: Culvert, client: Pod, url: string): Promise<void> {
  await client.run("curl", "-sS", url);
  await culvert.connection();
  assert.equal(culvert.log.items.filter(({ msg }) => msg === "connection").length, 1);
}

const cases = [
  {
    title: "a destination outside the mesh",
    reason: "pass_no_interest",
    urls: (mesh: Mesh) => [
      `http://${outside(mesh).ipv4}/`,
      `http://[${outside(mesh).ipv6}]/`,
      `http://[::ffff:${outside(mesh).ipv4}]/`,
    ],
  },
  {
    title: "loopback",
    reason: "pass_loopback",
    urls: () => ["http://127.0.0.1/", "http://127.1.2.3/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"],
  },
  {
    title: "the pod's own address",
    reason: "pass_self",
    urls: (mesh: Mesh) => [`http://${client(mesh).ipv4}/`, `http://[${client(mesh).ipv6}]/`],
  },
  {
    title: "an opted-out port of a service",
    reason: "pass_opted_out",
    urls: (mesh: Mesh) => [
      `http://${mesh.node("a").pod("web").ipv4}:5432/`,
      `http://[${mesh.node("a").pod("web").ipv6}]:8050/`,
    ],
  },
  {
    title: "an opted-out network",
    reason: "pass_opted_out",
    urls: (mesh: Mesh) => [`http://${mesh.node("a").pod("db").ipv4}/`, `http://[${mesh.node("a").pod("db").ipv6}]/`],
  },
];

const client = (mesh: Mesh) => mesh.node("a").pod("client");
const outside = (mesh: Mesh) => mesh.node("a").outside("website");

function declare(mesh: Mesh): { web: Pod } {
  const node = mesh.node("a");
  // Declared first, for their addresses. Not captured themselves: their server must see the client's own port.
  const web = node.pod("web", { enrolled: false }).serve(nginx(), nginx({ port: 5432 }), nginx({ port: 8050 }));
  const db = node.pod("db", { enrolled: false }).serve(nginx());
  const outboundOptOut = [{ ports: [5432, "8000-8100"] }, { cidr: `${db.ipv4}/32` }, { cidr: `${db.ipv6}/128` }];
  node.pod("client", { outboundOptOut }).serve(nginx());
  node.outside("website").serve(nginx());
  mesh.service("web", { port: 80, endpoints: [web] });
  return { web };
}

for (const { title, reason, urls } of cases) {
  test(`a connection to ${title} is never touched, only counted (${reason})`, async () => {
    await using mesh = await Mesh.start();
    const { web } = declare(mesh);
    const culvert = await mesh.node("a").culvert();
    for (const url of urls(mesh)) await assertUntouched(client(mesh), url);
    const metrics = await culvert.metrics();
    assert.equal(metrics.sum("culvert_capture_total", { reason }), urls(mesh).length);
    assert.equal(metrics.sum("culvert_connections_opened_total"), 0);
    await assertOnlyConnection(culvert, client(mesh), `http://${web.ipv4}/`);
  });
}

test("a connection to an inbound opted-out port is never touched", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const laptop = node.outside("laptop");
  const server = node.pod("server", { inboundOptOut: [{ ports: [2222] }] }).serve(nginx(), nginx({ port: 2222 }));
  const culvert = await node.culvert();

  await assertUntouched(laptop, `http://${server.ipv4}:2222/`);
  await assertUntouched(laptop, `http://[${server.ipv6}]:2222/`);
  await laptop.run("curl", "-sS", `http://${server.ipv4}/`);
  assert.equal((await culvert.connection()).destination, `${server.ipv4}:80`);
});

test("a pod that is not enrolled is not captured, though it is of the mesh", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const plain = node.pod("plain", { enrolled: false });
  const server = node.pod("server", { enrolled: false }).serve(nginx());
  node.pod("enrolled");
  const culvert = await node.culvert();

  await assertUntouched(plain, `http://${server.ipv4}/`);
  assert.equal((await culvert.metrics()).sum("culvert_connections_opened_total"), 0);
});
