// The pages of the admin socket behind the commands: what the node does now, as JSON (telemetry/reports.ts).

import { type Page, PageRefusal } from "../../admin/admin-server.ts";
import { resolveLabel } from "../../discovery/mesh-references.ts";
import { formatAddress } from "../../mesh/address.ts";
import { labelOf } from "../../mesh/snapshot.ts";
import { directions, sumCounters } from "../../telemetry/counters.ts";
import { type LogLevel, logLevels } from "../../telemetry/log-level.ts";
import type { ConnectionsReport, NamesReport, PodReport, StatusReport } from "../../telemetry/reports.ts";
import { configReport } from "./config-report.ts";
import { countDescriptors } from "./descriptors.ts";
import { nodeFindings } from "./findings.ts";
import { liveness, workerReports } from "./health.ts";
import type { NodeView } from "./node-view.ts";
import { servicesReport } from "./services.ts";
import { why } from "./why.ts";

const maxConnections = 10_000;
const maxServices = 1000;
const maxEvents = 1000;

export function introspectionPages(view: NodeView): ReadonlyMap<string, Page> {
  return new Map<string, Page>([
    ["/status", { get: () => status(view) }],
    ["/config", { get: () => configReport(view) }],
    ["/connections", { get: (query) => connections(view, query) }],
    ["/pods", { get: () => pods(view) }],
    ["/services", { get: (query) => servicesReport(view, query.get("name") ?? "", limitOf(query, 100, maxServices)) }],
    ["/names", { get: () => names(view) }],
    ["/why", { get: (query) => why(view, wanted(query, "workload"), wanted(query, "to")) }],
    ["/events", { get: (query) => ({ events: view.log.events.latest(limitOf(query, 100, maxEvents)) }) }],
    ["/check", { get: () => nodeFindings(view) }],
    ["/log-level", { get: () => ({ level: view.log.level }), put: (query) => setLogLevel(view, query) }],
  ]);
}

function status(view: NodeView): StatusReport {
  const workers = workerReports(view.capture, view.stats);
  const files = countDescriptors();
  const live = liveness(workers, files);
  const ready = view.readiness();
  const snapshot = view.snapshot();
  const { open, opened, bytes } = sumCounters(view.counters, view.workers.size);
  return {
    node: view.config().name,
    version: view.version,
    pid: process.pid,
    startedAt: view.startedAt.toISOString(),
    ready: ready.ok,
    notReadyBecause: ready.reason,
    note: ready.note ?? "",
    live: live.ok,
    notLiveBecause: live.reason,
    mesh: {
      file: view.configPath,
      version: snapshot.version,
      workloads: snapshot.workloads.length,
      services: snapshot.services.length,
    },
    pods: { enrolled: view.pods.count, notEnrolled: view.localPods().length - view.pods.count },
    workers,
    connections: { open, opened, bytes },
    descriptors: files,
    logLevel: view.log.level,
  };
}

async function connections(view: NodeView, query: URLSearchParams): Promise<ConnectionsReport> {
  const limit = limitOf(query, 100, maxConnections);
  const direction = query.get("direction") ?? undefined;
  if (direction !== undefined && !isOneOf(directions, direction)) {
    throw new PageRefusal(400, `direction ${direction} is none; ask for ${directions.join(" or ")}`);
  }
  const label = (name: string | null) => (name === null ? undefined : resolveLabel(name, "default"));
  const filter = {
    direction,
    pod: label(query.get("pod")),
    service: label(query.get("service")),
    text: query.get("address") ?? undefined,
  };
  const answers = await view.workers.ask({ about: "connections", filter, limit });
  const found = answers.flatMap((parts = [], worker) =>
    parts.flatMap(({ connections }) => connections.map((connection) => ({ ...connection, worker }))),
  );
  const sum = (of: "open" | "matching") => answers.flat().reduce((total, part) => total + (part?.[of] ?? 0), 0);
  return {
    // Of all workers' together the longest: what each sent is at most `limit`.
    connections: found.sort((a, b) => b.durationMs - a.durationMs).slice(0, limit),
    matching: sum("matching"),
    open: sum("open"),
    silentWorkers: answers.flatMap((answer, worker) => (answer === undefined ? worker : [])),
  };
}

function pods(view: NodeView): { pods: PodReport[] } {
  return {
    pods: view.localPods().map((pod) => ({
      name: pod.name,
      addresses: pod.addresses.map(formatAddress),
      netns: pod.netnsPath,
      state: podState(view, pod.name),
      because: view.pods.failures.get(pod.name) ?? "",
      whenProxyDown: {
        outbound: pod.outboundStrict ? "deny" : "pass",
        inbound: pod.inboundStrict ? "deny" : "pass",
      },
      optOuts: pod.outboundOptOuts.length + pod.inboundOptOuts.length,
    })),
  };
}

function podState({ pods }: NodeView, name: string): PodReport["state"] {
  if (pods.enrolled(name) !== undefined) return "enrolled";
  return pods.failures.has(name) ? "refused" : "waiting";
}

function names(view: NodeView): NamesReport {
  const { node, workloads, services } = view.snapshot();
  return {
    workloads: workloads.filter((it) => it.node === node).map(labelOf),
    services: services.map(labelOf),
    destinations: services.flatMap((it) => it.ports.map(({ port }) => `${labelOf(it)}:${port}`)),
  };
}

function setLogLevel(view: NodeView, query: URLSearchParams): { level: LogLevel } {
  const level = wanted(query, "level");
  if (!isOneOf(logLevels, level)) {
    throw new PageRefusal(400, `log level ${level} is none; choose one of ${logLevels.join(", ")}`);
  }
  const before = view.log.level;
  view.log.level = level;
  view.workers.tell({ type: "logConnections", wanted: level === "debug" || level === "info" });
  view.log.logger.info({ before, level }, "log level changed");
  return { level };
}

function wanted(query: URLSearchParams, name: string): string {
  const value = query.get(name);
  if (value === null || value === "") throw new PageRefusal(400, `?${name}= is missing`);
  return value;
}

function limitOf(query: URLSearchParams, byDefault: number, most: number): number {
  const limit = Number(query.get("limit") ?? byDefault);
  if (!Number.isInteger(limit) || limit < 1 || limit > most) {
    throw new PageRefusal(400, `limit must be a whole number from 1 to ${most}`);
  }
  return limit;
}

function isOneOf<const T extends string>(words: readonly T[], word: string): word is T {
  return (words as readonly string[]).includes(word);
}
