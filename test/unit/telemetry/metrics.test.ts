import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { createCounters, WorkerCounters } from "../../../src/telemetry/counters.ts";
import { buildRegistry, type MetricSources } from "../../../src/telemetry/metrics.ts";
import { workerStats } from "../../../src/telemetry/worker-stats.ts";

function sources(overrides: Partial<MetricSources> = {}): MetricSources {
  return {
    counters: createCounters(2),
    workers: 2,
    reactorStats: () => [new Float64Array(workerStats.length), new Float64Array(workerStats.length)],
    captureReasons: () => ({}),
    meshVersion: () => 1,
    configState: () => ({ applied: 2, refused: 1, appliedAtMs: 5_000, staleSinceMs: undefined, reason: "" }),
    podsEnrolled: () => 0,
    rewrittenPairs: () => 0,
    version: "1.2.3",
    ...overrides,
  };
}

/** The sample lines of one metric. */
async function scrape(registry: ReturnType<typeof buildRegistry>, name: string): Promise<string[]> {
  const text = await registry.metrics();
  return text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
}

describe("metrics", () => {
  test("show traffic as it is counted at the moment of the scrape, and the same when nothing happened since", async () => {
    const counters = createCounters(2);
    const registry = buildRegistry(sources({ counters }));
    const workers = [new WorkerCounters(counters, 0), new WorkerCounters(counters, 1)];
    assert.deepEqual(await scrape(registry, "culvert_connections_open"), [
      'culvert_connections_open{direction="outbound"} 0',
      'culvert_connections_open{direction="inbound"} 0',
    ]);
    workers[0]!.opened("outbound");
    workers[1]!.opened("outbound");
    workers[1]!.closed("outbound", "refused");
    workers[0]!.bytes("inbound", "sent", 7);
    for (let i = 0; i < 2; i++) {
      assert.equal(
        (await scrape(registry, "culvert_connections_open"))[0],
        'culvert_connections_open{direction="outbound"} 1',
      );
      assert.equal(
        (await scrape(registry, "culvert_connections_opened_total"))[0],
        'culvert_connections_opened_total{direction="outbound"} 2',
      );
      const closed = await scrape(registry, "culvert_connections_closed_total");
      assert.equal(closed.length, 18);
      assert.ok(closed.includes('culvert_connections_closed_total{direction="outbound",result="refused"} 1'));
      assert.ok(closed.includes('culvert_connections_closed_total{direction="inbound",result="refused"} 0'));
      assert.ok(
        (await scrape(registry, "culvert_bytes_total")).includes(
          'culvert_bytes_total{direction="inbound",flow="sent"} 7',
        ),
      );
    }
  });

  test("show what connections speak and how that was found out, all pairs there are from the beginning", async () => {
    const counters = createCounters(2);
    const registry = buildRegistry(sources({ counters }));
    new WorkerCounters(counters, 1).protocol("inbound", "opaque", "server_first");
    const lines = await scrape(registry, "culvert_connections_protocol_total");
    assert.equal(lines.length, 2 * 16);
    const series = (direction: string) =>
      `culvert_connections_protocol_total{direction="${direction}",protocol="opaque",by="server_first"}`;
    assert.ok(lines.includes(`${series("inbound")} 1`));
    assert.ok(lines.includes(`${series("outbound")} 0`));
  });

  test("show the reasons of capture, those that appear later too", async () => {
    let reasons: Record<string, number> = { captured_outbound: 3 };
    const registry = buildRegistry(sources({ captureReasons: () => reasons }));
    assert.deepEqual(await scrape(registry, "culvert_capture_total"), [
      'culvert_capture_total{reason="captured_outbound"} 3',
    ]);
    reasons = { captured_outbound: 4, pass_loopback: 1 };
    assert.deepEqual(await scrape(registry, "culvert_capture_total"), [
      'culvert_capture_total{reason="captured_outbound"} 4',
      'culvert_capture_total{reason="pass_loopback"} 1',
    ]);
  });

  test("show each worker's reactor", async () => {
    const rows = [0, 1].map((worker) => Float64Array.from(workerStats, (_, i) => worker * 100 + i));
    const registry = buildRegistry(sources({ reactorStats: () => rows }));
    for (const [i, { metric }] of workerStats.entries()) {
      assert.deepEqual(await scrape(registry, `culvert_worker_${metric}`), [
        `culvert_worker_${metric}{worker="0"} ${i}`,
        `culvert_worker_${metric}{worker="1"} ${100 + i}`,
      ]);
    }
  });

  test("show whether the configuration in force is the one that the file says", async () => {
    let staleSinceMs: number | undefined;
    const state = () => ({ applied: 2, refused: 1, appliedAtMs: 5_000, staleSinceMs, reason: "" });
    const registry = buildRegistry(sources({ configState: state }));
    assert.deepEqual(await scrape(registry, "culvert_config_stale"), ["culvert_config_stale 0"]);
    staleSinceMs = 7_000;
    assert.deepEqual(await scrape(registry, "culvert_config_stale"), ["culvert_config_stale 1"]);
    assert.deepEqual(await scrape(registry, "culvert_config_reloads_total"), [
      'culvert_config_reloads_total{outcome="applied"} 2',
      'culvert_config_reloads_total{outcome="refused"} 1',
    ]);
    assert.deepEqual(await scrape(registry, "culvert_config_applied_timestamp_seconds"), [
      "culvert_config_applied_timestamp_seconds 5",
    ]);
  });

  test("show what is running and since which snapshot", async () => {
    let [version, pods] = [4, 2];
    const registry = buildRegistry(sources({ meshVersion: () => version, podsEnrolled: () => pods }));
    assert.deepEqual(await scrape(registry, "culvert_mesh_version"), ["culvert_mesh_version 4"]);
    [version, pods] = [5, 1];
    assert.deepEqual(await scrape(registry, "culvert_mesh_version"), ["culvert_mesh_version 5"]);
    assert.deepEqual(await scrape(registry, "culvert_pods_enrolled"), ["culvert_pods_enrolled 1"]);
    assert.deepEqual(await scrape(registry, "culvert_build_info"), [
      `culvert_build_info{version="1.2.3",node_version="${process.version}"} 1`,
    ]);
    assert.equal((await scrape(registry, "process_resident_memory_bytes")).length, 1);
  });

  test("name counters with _total and gauges without, and say what they are", async () => {
    const lines = (await buildRegistry(sources()).metrics())
      .split("\n")
      .filter((line) => /^# TYPE culvert_/.test(line));
    assert.ok(lines.length > 20);
    for (const line of lines) assert.match(line, /_total counter$|(?<!_total) gauge$/);
    const help = (await buildRegistry(sources()).metrics()).split("\n").filter((line) => /^# HELP culvert_/.test(line));
    assert.equal(help.length, lines.length);
  });

  test("take the reactor's statistics in the order in which native writes them", () => {
    const header = readFileSync(new URL("../../../native/reactor/layout.h", import.meta.url), "utf8");
    const enumerators = /enum Stat[^{]*\{([^}]*)\}/.exec(header)![1]!.matchAll(/\bkStat(\w+)/g);
    assert.deepEqual(
      workerStats.map((it) => it.stat),
      [...enumerators].map((it) => it[1]).filter((name) => name !== "Count"),
    );
  });
});
