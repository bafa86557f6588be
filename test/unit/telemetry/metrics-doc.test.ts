// docs/metrics.md has every metric and every value that its labels take: as many series as that, whatever the mesh's size.
// `CULVERT_WRITE_DOCS=1 npm test -- metrics-doc` writes the tables anew.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { reasons } from "../../../src/kernel/reasons.ts";
import {
  createCounters,
  directions,
  endpointEvents,
  flows,
  protocolDecisions,
  results,
  seenAs,
} from "../../../src/telemetry/counters.ts";
import { buildRegistry } from "../../../src/telemetry/metrics.ts";
import { addEnrolmentGaps, addPresenceMetrics } from "../../../src/telemetry/presence-metrics.ts";
import { workerStats } from "../../../src/telemetry/worker-stats.ts";
import { assertSection, table } from "../docs/generated-section.ts";

const path = join(import.meta.dirname, "../../../docs/metrics.md");
const registry = buildRegistry({
  counters: createCounters(1),
  workers: 1,
  reactorStats: () => [new Float64Array(workerStats.length)],
  captureReasons: () => Object.fromEntries(reasons.map(({ name }) => [name, 0])),
  meshVersion: () => 1,
  configState: () => ({ applied: 0, refused: 0, appliedAtMs: 0, staleSinceMs: undefined, reason: "" }),
  podsEnrolled: () => 0,
  rewrittenPairs: () => 0,
  version: "1.2.3",
});
addEnrolmentGaps(registry);
addPresenceMetrics(registry, {
  podsWaiting: () => 0,
  podsGone: () => 0,
  unknownNamespaces: () => 0,
  probeExemption: { isAttached: true, attachments: 1 },
});

async function metricsTable(isOurs: boolean): Promise<string> {
  const metrics = (await registry.getMetricsAsJSON()).filter(({ name }) => name.startsWith("culvert_") === isOurs);
  const rows = metrics.map(({ name, type, help, values }) => {
    const labels = new Set(values.flatMap((value) => Object.keys(value.labels)));
    return [`\`${name}\``, `${type}`, [...labels].join(", "), help.replaceAll("|", "\\|").replace(/\.$/, "")];
  });
  return table(["metric", "type", "labels", "what"], rows);
}

const sections: Record<string, () => Promise<string> | string> = {
  metrics: () => metricsTable(true),
  reasons: () =>
    table(
      ["reason", "meaning"],
      reasons.map(({ name, meaning }) => [`\`${name}\``, meaning]),
    ),
  process: () => metricsTable(false),
};

test("docs/metrics.md lists every metric with its labels, and every reason", async () => {
  for (const [name, render] of Object.entries(sections)) assertSection("docs/metrics.md", name, await render());
});

test("labels of Culvert's metrics take values out of fixed lists only, which docs/metrics.md has", async () => {
  const doc = readFileSync(path, "utf8");
  const bounded: Record<string, readonly string[] | undefined> = {
    direction: directions,
    flow: flows,
    result: results,
    protocol: protocolDecisions.map(({ protocol }) => protocol),
    by: protocolDecisions.map(({ by }) => by),
    seen_as: seenAs,
    event: endpointEvents,
    outcome: ["applied", "refused"],
    family: ["IPv4", "IPv6"],
    reason: reasons.map(({ name }) => name),
    worker: ["0"],
    le: ["0.001", "0.005", "0.02", "0.1", "0.5", "2", "10", "60", "+Inf"],
    version: ["1.2.3"],
    node_version: [process.version],
  };
  for (const { name, values } of await registry.getMetricsAsJSON()) {
    if (!name.startsWith("culvert_")) continue;
    for (const { labels } of values) {
      for (const [label, value] of Object.entries(labels)) {
        assert.ok(bounded[label]?.includes(String(value)), `${name}: ${label}="${value}" is of no fixed list`);
        assert.ok(doc.includes(`- \`${label}\`: `), `docs/metrics.md says nothing of the label ${label}`);
      }
    }
  }
});
