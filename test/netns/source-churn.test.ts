// Clients that leave their source ports to their kernels never meet one that the proxy chose.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import { hold, meetings } from "./harness/source-meetings.ts";

const podCidrs = ["10.244.0.0/16", "fd00:244::/32"];
const port = 7000;
const families = [{ of: (host: Host) => host.ipv4 }, { of: (host: Host) => host.ipv6 }] as const;

test("100,000 connections of ordinary clients never meet a port of ours", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const server = node.pod("server").serve(echo(port));
  const clients = Array.from({ length: 8 }, (_, i) =>
    i % 2 === 0 ? node.pod(`plain-${i}`, { enrolled: false }) : node.elsewhere(`remote-${i}`),
  );
  const culvert = await node.culvert({ podCidrs, workers: 3 });
  const before = meetings(server);
  // Connections that stay: their ports are taken all the while.
  const held = (await Promise.all(clients.map((client) => hold(client, server.ipv4, port, 4)))).flat();
  // Beyond 14,000 of one client to one address within a minute the search for a free port makes connecting slow.
  const [rounds, connections] = [5, 1250];
  for (let round = 0; round < rounds; round++) {
    const results = await Promise.all(
      clients.flatMap((client) =>
        families.map(({ of }) => churn(client, of(server), port, { connections, concurrency: 8 })),
      ),
    );
    t.diagnostic(JSON.stringify(results.map(({ seconds }) => seconds)));
    for (const { succeeded, failed } of results) assert.deepEqual([succeeded, failed], [connections, {}]);
  }
  assert.equal(meetings(server), before);
  const metrics = await culvert.metrics();
  const seenAs = (how: string) => metrics.sum("culvert_inbound_sources_total", { seen_as: how });
  assert.deepEqual([seenAs("client"), seenAs("pod"), seenAs("pod_after_retry")], [100_032, 0, 0]);
  for (const socket of held) await socket.close();
});
