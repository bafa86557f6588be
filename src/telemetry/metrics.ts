// Prometheus metrics. Nothing is counted here: everything is read where it is counted, at scrape time, so that a metric
// costs nothing between scrapes.

import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { ConfigState } from "./config-state.ts";
import {
  type CounterTotals,
  directions,
  endpointEvents,
  flows,
  protocolDecisions,
  results,
  seenAs as seenAsWords,
  sumCounters,
} from "./counters.ts";
import { workerStats } from "./worker-stats.ts";

export interface MetricSources {
  /** Of createCounters. */
  readonly counters: SharedArrayBuffer;
  readonly workers: number;
  /** One row per worker, ordered as worker-stats.ts. */
  readonly reactorStats: () => readonly Float64Array[];
  /** Reason name → how often capture decided so. */
  readonly captureReasons: () => Readonly<Record<string, number>>;
  readonly meshVersion: () => number;
  readonly configState: () => ConfigState;
  readonly podsEnrolled: () => number;
  /** Pairs of pods of this node between which the network rewrites sources. */
  readonly rewrittenPairs: (family: 4 | 6) => number;
  /** Culvert's. */
  readonly version: string;
}

type Row = readonly [labels: Record<string, string>, value: number];

/** `await registry.metrics()` reads the sources and yields the text of /metrics. */
export function buildRegistry(sources: MetricSources): Registry {
  const registry = new Registry();
  // Every 10 ms, the default, would wake the main thread a hundred times a second for a histogram of its own lag.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 1000 });
  // Gauges that are named as counters.
  for (const name of ["handles", "requests", "resources"]) registry.removeSingleMetric(`nodejs_active_${name}_total`);
  const traffic = (rows: (totals: CounterTotals) => Row[]) => () =>
    rows(sumCounters(sources.counters, sources.workers));

  addMetric(
    registry,
    "counter",
    "culvert_connections_opened_total",
    "Captured connections accepted",
    ["direction"],
    traffic(({ opened }) => directions.map((direction) => [{ direction }, opened[direction]])),
  );
  addMetric(
    registry,
    "counter",
    "culvert_connections_closed_total",
    "Captured connections ended, by how",
    ["direction", "result"],
    traffic(({ closed }) =>
      directions.flatMap((direction) =>
        results.map((result): Row => [{ direction, result }, closed[direction][result]]),
      ),
    ),
  );
  addMetric(
    registry,
    "gauge",
    "culvert_connections_open",
    "Captured connections open now",
    ["direction"],
    traffic(({ open }) => directions.map((direction) => [{ direction }, open[direction]])),
  );
  addMetric(
    registry,
    "counter",
    "culvert_bytes_total",
    "Bytes carried; sent is from client to server",
    ["direction", "flow"],
    traffic(({ bytes }) =>
      directions.flatMap((direction) => flows.map((flow): Row => [{ direction, flow }, bytes[direction][flow]])),
    ),
  );
  addMetric(
    registry,
    "counter",
    "culvert_connections_protocol_total",
    "Captured connections by what they speak and how that was found out",
    ["direction", "protocol", "by"],
    traffic(({ protocols }) =>
      directions.flatMap((direction) =>
        protocolDecisions.map(({ protocol, by }, i): Row => [{ direction, protocol, by }, protocols[direction][i]!]),
      ),
    ),
  );
  addMetric(
    registry,
    "counter",
    "culvert_inbound_sources_total",
    "Connections made to applications, by whose address these see: the client's, their own pod's, or that after no answer came to the client's",
    ["seen_as"],
    traffic(({ seenAs }) => seenAsWords.map((how): Row => [{ seen_as: how }, seenAs[how]])),
  );
  addMetric(
    registry,
    "counter",
    "culvert_endpoint_events_total",
    "Connections tried on another endpoint (retried), endpoints ejected because connecting failed, probed and recovered",
    ["event"],
    traffic(({ endpoints }) => endpointEvents.map((event) => [{ event }, endpoints[event]])),
  );
  addMetric(registry, "counter", "culvert_capture_total", "Decisions of the BPF programs, by reason", ["reason"], () =>
    Object.entries(sources.captureReasons()).map(([reason, count]) => [{ reason }, count]),
  );
  addMetric(registry, "gauge", "culvert_mesh_version", "Version of the mesh snapshot in force", [], () => [
    [{}, sources.meshVersion()],
  ]);
  addMetric(
    registry,
    "counter",
    "culvert_config_reloads_total",
    "Changed configurations by what became of them",
    ["outcome"],
    () => [
      [{ outcome: "applied" }, sources.configState().applied],
      [{ outcome: "refused" }, sources.configState().refused],
    ],
  );
  addMetric(
    registry,
    "gauge",
    "culvert_config_stale",
    "1 while the configuration file is one that could not be taken over; /ready and the log say why",
    [],
    () => [[{}, sources.configState().staleSinceMs === undefined ? 0 : 1]],
  );
  addMetric(
    registry,
    "gauge",
    "culvert_config_applied_timestamp_seconds",
    "When the configuration in force was put in force",
    [],
    () => [[{}, sources.configState().appliedAtMs / 1000]],
  );
  addMetric(registry, "gauge", "culvert_pods_enrolled", "Pods whose traffic is captured", [], () => [
    [{}, sources.podsEnrolled()],
  ]);
  addMetric(
    registry,
    "gauge",
    "culvert_rewritten_pairs",
    "Pairs of this node's pods between which the network rewrites sources: NetworkPolicy is not applied there",
    ["family"],
    () => ([4, 6] as const).map((family) => [{ family: `IPv${family}` }, sources.rewrittenPairs(family)]),
  );
  addMetric(
    registry,
    "gauge",
    "culvert_build_info",
    "1, with what is running as labels",
    ["version", "node_version"],
    () => [[{ version: sources.version, node_version: process.version }, 1]],
  );
  for (const [index, { metric, kind, help }] of workerStats.entries()) {
    addMetric(registry, kind, `culvert_worker_${metric}`, help, ["worker"], () =>
      sources.reactorStats().map((row, worker) => [{ worker: String(worker) }, row[index] ?? 0]),
    );
  }
  return registry;
}

/** A metric whose values are `rows()` at scrape time; a series that is no longer among them is gone. */
export function addMetric(
  registry: Registry,
  kind: "counter" | "gauge",
  name: string,
  help: string,
  labelNames: readonly string[],
  rows: () => readonly Row[],
): void {
  const Metric = kind === "counter" ? Counter : Gauge;
  new Metric({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      for (const [labels, value] of rows()) this.inc(labels, value);
    },
  });
}
