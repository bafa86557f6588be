// One node's Culvert: reads the mesh file, starts the workers, captures the pods, answers on the admin socket, drains.

import { availableParallelism } from "node:os";
import { dirname, resolve as resolvePath } from "node:path";
import { startAdmin } from "../admin/admin-server.ts";
import { loadMeshFile } from "../discovery/file-source.ts";
import type { NodeConfig } from "../discovery/node-config.ts";
import { Capture } from "../kernel/capture.ts";
import { enterProxyCgroup } from "../kernel/cgroup.ts";
import { instancesIn, isRunning } from "../kernel/instances.ts";
import type { IpAddress } from "../mesh/address.ts";
import type { MeshSnapshot } from "../mesh/snapshot.ts";
import { createSourcePorts } from "../proxy/source-ports.ts";
import { statCount } from "../runtime/layout.ts";
import { bpfObjectsPath, type Fd, native } from "../runtime/native.ts";
import { createCounters } from "../telemetry/counters.ts";
import { type Logger, NodeLog, openLogOutput } from "../telemetry/log.ts";
import { buildRegistry } from "../telemetry/metrics.ts";
import { addEnrolmentGaps, addPresenceMetrics } from "../telemetry/presence-metrics.ts";
import { watchAcceptErrors } from "./accept-errors.ts";
import { countDescriptors } from "./introspection/descriptors.ts";
import { liveness, workerReports } from "./introspection/health.ts";
import type { NodeView } from "./introspection/node-view.ts";
import { watchNode } from "./introspection/node-watch.ts";
import { introspectionPages } from "./introspection/pages.ts";
import type { WorkerSettings } from "./messages.ts";
import { Pods } from "./pods.ts";
import { Presence } from "./presence.ts";
import { defaultProxyCgroup } from "./uninstall.ts";
import { WorkerPool } from "./worker-pool.ts";

/** 64 MiB of 16 KiB blocks per worker; pages that were never needed are never touched. */
const blocksPerWorker = 4096;
/** More rarely helps one node: the kernel's work for a connection is spread over all CPUs anyway. */
const maxDefaultWorkers = 4;

export interface NodeOptions {
  readonly configPath: string;
  readonly version: string;
}

/** Runs until SIGTERM or SIGINT has drained it; rejects when it cannot start. A second signal ends it at once. */
export async function runNode({ configPath, version }: NodeOptions): Promise<void> {
  const { node, nodes, snapshot, pods: localPods, plainNamespaces } = loadMeshFile(configPath);
  native.hardenProcess();
  const descriptors = native.raiseDescriptorLimit();
  native.setPeerTimeout(node.peerTimeoutMs);
  const output = openLogOutput();
  const nodeLog = new NodeLog(node.logLevel, output);
  const log = nodeLog.logger;

  await using cleanup = new AsyncDisposableStack();
  const proxyCgroup = node.cgroups.proxy ?? defaultProxyCgroup(node.name);
  const cgroup = enterProxyCgroup(proxyCgroup);
  cleanup.defer(() => cgroup.leave());
  const capture = cleanup.use(
    Capture.start({
      objectsPath: objectsPath(),
      podsCgroup: node.cgroups.pods,
      proxyCgroup,
      pins: node.pins,
      unknownPods: node.unknownPods,
      kubeletCgroup: node.cgroups.kubelet,
    }),
  );
  logWhatWasLeft(capture, node.pins, log);
  const destinations = [...snapshot.workloads, ...snapshot.services].flatMap((each) => each.addresses);
  capture.setDestinations(destinations, node.podCidrs);
  capture.setRefused(servicesWithoutEndpoint(snapshot));

  const settings = workerSettings(node, capture.bypassMap);
  const workers = await WorkerPool.start(settings, {
    onLog: (lines) => output.write(lines),
    onSourceRewritten: (pair) => pods.rewrittenPairs.add(pair, (podId) => pods.nameOf(podId)),
    onFailure(worker, err) {
      log.fatal({ worker, err }, "worker failed");
      output.flushSync();
      capture.abandon(); // first: what is pinned stays, so that new connections pass or fail, as their pods want, from here on
      cgroup.leave();
      process.exit(1);
    },
  });
  cleanup.defer(() => workers.stop());
  const stats = settings.map((each) => each.stats);
  cleanup.use(watchAcceptErrors(stats, descriptors, log));
  workers.tell({ type: "snapshot", snapshot });

  let notReady = "starting";
  const registry = buildRegistry({
    counters: settings[0]!.counters,
    workers: settings.length,
    reactorStats: () => stats,
    captureReasons: () => capture.reasonCounts(),
    meshVersion: () => snapshot.version,
    podsEnrolled: () => pods.count,
    rewrittenPairs: (family) => pods.rewrittenPairs.count(family),
    version,
  });
  const pods = new Pods(capture, workers, log, addEnrolmentGaps(registry));
  const view: NodeView = {
    version,
    configPath: resolvePath(configPath),
    startedAt: new Date(),
    config: () => node,
    snapshot: () => snapshot,
    localPods: () => localPods,
    pods,
    workers,
    capture,
    counters: settings[0]!.counters,
    stats: settings.map((each) => each.stats),
    log: nodeLog,
    readiness: () => ({ ok: notReady === "", reason: notReady }),
  };
  const admin = await startAdmin({
    socket: node.admin.socket,
    address: node.admin.address,
    metrics: () => registry.metrics(),
    readiness: view.readiness,
    liveness: () => liveness(workerReports(capture, view.stats), countDescriptors()),
    pages: introspectionPages(view),
  });
  cleanup.defer(() => admin.close());
  const watch = watchNode(view);
  cleanup.defer(() => watch.stop());

  const stopSignal = nextStopSignal(() => capture.close());
  const onNodeAddresses = (own: readonly IpAddress[]) => {
    capture.rules.setAddresses(own);
    const nodeAddresses = [...own, ...nodes.flatMap(({ addresses }) => addresses)];
    workers.tell({ type: "keptSources", podCidrs: node.podCidrs, nodeAddresses });
  };
  const presence = cleanup.use(
    await Presence.start({ node, plainNamespaces, capture, pods, log, onNodeAddresses }, localPods),
  );
  addPresenceMetrics(registry, presence.metrics);
  const [failed, waiting] = (["refused", "waiting"] as const).map((state) => presence.localPods.count(state));
  // A pod that is not enrolled may be one of those that were left; whether it is strict is known, which it is is not.
  capture.settle({ keepsStrict: failed! + waiting! > 0 });
  notReady = "";
  const counts = { pods: pods.count, failed, waiting, workers: workers.size, descriptors };
  log.info({ node: node.name, ...counts, version: snapshot.version }, "ready");

  const signal = await stopSignal;
  notReady = "draining";
  log.info({ signal, timeoutSeconds: node.drainTimeoutMs / 1000 }, "draining");
  await presence[Symbol.asyncDispose]();
  await pods.withdrawAll();
  await drainStreams(workers, pods, node.drainTimeoutMs, () =>
    log.warn("drain time is over; open connections are reset"),
  );
  await cleanup.disposeAsync();
  if (capture.staysInForce) {
    log.warn({ pins: node.pins }, "strict pods stay closed until Culvert runs again; culvert uninstall opens them");
  }
  log.info("stopped");
  output.flushSync();
}

/** Tests put another version's objects in their place. */
function objectsPath(): string {
  const { NODE_ENV, CULVERT_TEST_BPF } = process.env;
  return (NODE_ENV === "test" && CULVERT_TEST_BPF) || bpfObjectsPath;
}

/** What a process that did not end by itself left, or one of another name or version. */
function logWhatWasLeft(capture: Capture, pins: string, log: Logger): void {
  if (capture.adoptedPods > 0)
    log.info({ pins, pods: capture.adoptedPods }, "found in force what a process before left");
  if (capture.otherLayouts.length > 0) {
    log.info(
      { pins, layouts: capture.otherLayouts },
      "found another version in force; it is replaced when all pods are known",
    );
  }
  for (const stale of instancesIn(dirname(pins))) {
    if (stale === pins || isRunning(stale)) continue;
    log.warn({ pins: stale }, "stale pins of a Culvert that does not run; culvert uninstall removes them");
  }
}

function servicesWithoutEndpoint({ services }: MeshSnapshot): { address: IpAddress; port: number }[] {
  return services
    .filter(({ endpoints }) => endpoints.length === 0)
    .flatMap(({ addresses, ports }) => addresses.flatMap((address) => ports.map(({ port }) => ({ address, port }))));
}

function workerSettings(node: NodeConfig, bypassMap: Fd): WorkerSettings[] {
  const count = node.workers ?? Math.min(maxDefaultWorkers, availableParallelism());
  const counters = createCounters(count);
  const sourcePorts = createSourcePorts();
  const { NODE_ENV, CULVERT_TEST_THROW, CULVERT_TEST_BUSY } = process.env;
  const isTest = NODE_ENV === "test";
  const failureOf = (worker: string) =>
    worker === CULVERT_TEST_THROW ? "throw" : worker === CULVERT_TEST_BUSY ? "busy" : undefined;
  return Array.from({ length: count }, (_, worker) => ({
    worker,
    blocks: blocksPerWorker,
    poison: isTest,
    counters,
    stats: new Float64Array(new SharedArrayBuffer(statCount * Float64Array.BYTES_PER_ELEMENT)),
    connectTimeoutMs: node.connectTimeoutMs,
    detectTimeoutMs: node.detectTimeoutMs,
    sourcePorts,
    logsConnections: node.logLevel === "debug" || node.logLevel === "info",
    bypassMap,
    failsForTest: isTest ? failureOf(String(worker)) : undefined,
  }));
}

/** Resolves with the first of SIGTERM and SIGINT; the second one ends the process, after `close`. */
function nextStopSignal(close: () => void): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let isStopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (isStopping) {
        close();
        process.exit(1);
      }
      isStopping = true;
      resolve(signal);
    });
  }
  return promise;
}

async function drainStreams(workers: WorkerPool, pods: Pods, timeoutMs: number, onTimeout: () => void): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    onTimeout();
    workers.tell({ type: "abort" });
    over.resolve();
  }, timeoutMs);
  await workers.drain();
  await Promise.race([pods.left(), over.promise]);
  clearTimeout(timer);
}
