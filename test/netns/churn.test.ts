// Symptom: after 14,000 to 28,000 short connections everything fails or crawls, because the ports are in TIME_WAIT.

import assert from "node:assert/strict";
import { test } from "node:test";
import { echo } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import { Mesh } from "./harness/mesh.ts";
import type { Service } from "./harness/service.ts";

const connections = 40_000;
const families = [
  { name: "IPv4", address: (service: Service) => service.ipv4 },
  { name: "IPv6", address: (service: Service) => service.ipv6 },
];

for (const { name, address } of families) {
  test(`${connections} short ${name} connections that the client closes first all succeed, from one pod to one service`, async (t) => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const client = node.pod("client");
    const endpoints = ["one", "two", "three"].map((pod) => node.pod(pod).serve(echo(7000)));
    const service = mesh.service("echo", { port: 7000, endpoints });
    const culvert = await node.culvert();

    const { succeeded, failed, seconds } = await churn(client, address(service), 7000, { connections });
    t.diagnostic(`${Math.round(connections / seconds)} connections/s`);
    assert.deepEqual(failed, {});
    assert.equal(succeeded, connections);
    const metrics = await culvert.metrics();
    assert.equal(metrics.sum("culvert_capture_total", { reason: "captured_outbound" }), connections);
    assert.equal(metrics.sum("culvert_connections_opened_total", { direction: "outbound" }), connections);
  });
}
