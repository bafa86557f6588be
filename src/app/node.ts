// One node's Culvert: reads the mesh file, starts the workers, captures the pods, answers on the admin socket, drains.

import { availableParallelism } from "node:os";
import { dirname, resolve as resolvePath } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { startAdmin } from "../admin/admin-server.ts";
import { type LoadedMesh, MeshFile } from "../discovery/file-source.ts";
import { FileWatch } from "../discovery/file-watch.ts";
import type { NodeConfig } from "../discovery/node-config.ts";
import { Capture } from "../kernel/capture.ts";
import { enterProxyCgroup } from "../kernel/cgroup.ts";
import { instancesIn, isRunning } from "../kernel/instances.ts";
import { heartbeatStaleMs } from "../kernel/judge.ts";
import { countReasons } from "../kernel/reasons.ts";
import type { IpAddress } from "../mesh/address.ts";
import { createSourcePorts } from "../proxy/source-ports.ts";
import { statCount } from "../runtime/layout.ts";
import { bpfObjectsPath, type Fd, native } from "../runtime/native.ts";
import { describeStaleness } from "../telemetry/config-state.ts";
import { createCounters } from "../telemetry/counters.ts";
import { type Logger, NodeLog, openLogOutput } from "../telemetry/log.ts";
import { buildRegistry } from "../telemetry/metrics.ts";
import { addEnrolmentGaps, addPresenceMetrics } from "../telemetry/presence-metrics.ts";
import { watchAcceptErrors } from "./accept-errors.ts";
import { applyFirst, applyMesh } from "./apply-mesh.ts";
import { countDescriptors } from "./introspection/descriptors.ts";
import { liveness, workerReports } from "./introspection/health.ts";
import type { NodeView } from "./introspection/node-view.ts";
import { watchNode } from "./introspection/node-watch.ts";
import { introspectionPages } from "./introspection/pages.ts";
import type { ToWorker, WorkerSettings } from "./messages.ts";
import { Pods } from "./pods.ts";
import { Presence } from "./presence.ts";
import { logWarnings, RunningMesh } from "./running-mesh.ts";
import { defaultProxyCgroup } from "./uninstall.ts";
import { WorkerPool } from "./worker-pool.ts";

/** 64 MiB of 16 KiB blocks per worker; pages that were never needed are never touched. */
const blocksPerWorker = 4096;
/** What is reset when the drain time is over is gone by then, but for what a reader does not take. */
const abortGraceMs = 1_000;
/** Longer than all that follows a drain takes: who is not through by then waits for a worker that hangs. */
const hangGraceMs = 10_000;
/** More rarely helps one node: the kernel's work for a connection is spread over all CPUs anyway. */
const maxDefaultWorkers = 4;

export interface NodeOptions {
  readonly configPath: string;
  readonly version: string;
}

/** Runs until SIGTERM or SIGINT has drained it; rejects when it cannot start. A second signal ends it at once. */
export async function runNode({ configPath, version }: NodeOptions): Promise<void> {
  const hangups = new Hangups();
  const file = new MeshFile(configPath);
  const loaded = file.load()!;
  const { node } = loaded;
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

  let hasFailed = false;
  const settings = workerSettings(node, capture.maps.bypass.fd);
  const workers = await WorkerPool.start(settings, {
    onLog: (lines) => output.write(lines),
    onEvent: (level, line) => nodeLog.add(level, line),
    onSourceRewritten: (pair) => pods.rewrittenPairs.add(pair, (podId) => pods.nameOf(podId)),
    onSilence: (silent, what) =>
      log.warn(
        { workers: silent, what, afterMs: heartbeatStaleMs },
        `${what} waits for a worker that hangs, and so does every later change; restart this node`,
      ),
    onFailure(worker, err) {
      if (hasFailed) return; // It is told of an exception, and of its end.
      hasFailed = true;
      log.fatal({ worker, err }, "worker failed");
      capture.pods.abandon(); // first: what is pinned stays, so that new connections pass or fail, as their pods want, from here on
      cgroup.leave();
      void output.flushed().then(() => process.exit(1));
    },
  });
  cleanup.defer(() => workers.stop());
  const stats = settings.map((each) => each.stats);
  cleanup.use(watchAcceptErrors(stats, descriptors, log));
  await applyFirst(loaded, capture, workers);

  const mesh = new RunningMesh({
    file,
    loaded,
    async apply(next, before) {
      const facts = await applyMesh({ workers, capture, presence }, next, before);
      tellKeptSources(next);
      const { logLevel } = next.node;
      if (logLevel !== before.node.logLevel) {
        nodeLog.level = logLevel;
        workers.tell({ type: "logConnections", wanted: logsConnections(logLevel) });
      }
      return facts;
    },
    log,
  });
  let notReady = "starting";
  const registry = buildRegistry({
    counters: settings[0]!.counters,
    workers: settings.length,
    reactorStats: () => stats,
    captureReasons: () => countReasons(capture.maps),
    meshVersion: () => mesh.current.snapshot.version,
    configState: () => mesh.state,
    podsEnrolled: () => pods.count,
    rewrittenPairs: (family) => pods.rewrittenPairs.count(family),
    version,
  });
  const pods = new Pods(capture, workers, log, addEnrolmentGaps(registry));
  const view: NodeView = {
    version,
    configPath: resolvePath(configPath),
    startedAt: new Date(),
    config: () => mesh.current.node,
    snapshot: () => mesh.current.snapshot,
    localPods: () => mesh.current.pods,
    pods,
    workers,
    capture,
    counters: settings[0]!.counters,
    stats: settings.map((each) => each.stats),
    log: nodeLog,
    readiness: () => ({ ok: notReady === "", reason: notReady, note: describeStaleness(mesh.state) }),
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
  const nodeWatch = watchNode(view);
  cleanup.defer(() => nodeWatch.stop());

  const stopSignal = nextStopSignal(() => capture.close());
  let nodeAddresses: readonly IpAddress[] = [];
  const tellKeptSources = (it: LoadedMesh) => workers.tell(keptSourcesOf(it, nodeAddresses));
  const onNodeAddresses = (own: readonly IpAddress[]) => {
    try {
      capture.rules.setAddresses(own);
    } catch (err) {
      log.error({ err }, "the hooks do not know the node's new addresses; those before stay");
    }
    nodeAddresses = own;
    tellKeptSources(mesh.current);
  };
  const presence = cleanup.use(await Presence.start({ node, capture, pods, log, onNodeAddresses }, loaded));
  addPresenceMetrics(registry, presence.metrics);
  const counts = presence.counts;
  // A pod that is not enrolled may be one of those that were left; whether it is strict is known, which it is is not.
  capture.settle({ keepsStrict: counts.failed + counts.waiting > 0 });
  notReady = "";
  logWarnings(loaded, log);
  log.info(
    { node: node.name, ...counts, workers: workers.size, descriptors, version: loaded.snapshot.version },
    "ready",
  );
  hangups.handle(() => mesh.reload("signal"));
  const watch = cleanup.use(new FileWatch(configPath, () => mesh.reload("watch")));

  const signal = await stopSignal;
  const { drainTimeoutMs } = mesh.current.node;
  setTimeout(() => {
    log.error("a worker hangs; the process ends without it, and its connections with the process");
    capture.close();
    cgroup.leave();
    void output.flushed().then(() => process.exit(1));
  }, drainTimeoutMs + hangGraceMs).unref();
  watch[Symbol.dispose]();
  hangups.handle(() => {});
  await mesh.settled();
  notReady = "draining";
  log.info({ signal, timeoutSeconds: drainTimeoutMs / 1000 }, "draining");
  await presence[Symbol.asyncDispose]();
  await pods.withdrawAll();
  await drainStreams(workers, pods, drainTimeoutMs, () => log.warn("drain time is over; open connections are reset"));
  await cleanup.disposeAsync();
  if (capture.staysInForce) {
    log.warn({ pins: node.pins }, "strict pods stay closed until Culvert runs again; culvert uninstall opens them");
  }
  log.info("stopped");
  await output.flushed();
}

function logsConnections(level: NodeConfig["logLevel"]): boolean {
  return level === "debug" || level === "info";
}

/** Tests put another version's objects in their place. */
function objectsPath(): string {
  const { NODE_ENV, CULVERT_TEST_BPF } = process.env;
  return (NODE_ENV === "test" && CULVERT_TEST_BPF) || bpfObjectsPath;
}

/** What a process that did not end by itself left, or one of another name or version. */
function logWhatWasLeft(capture: Capture, pins: string, log: Logger): void {
  if (capture.pods.adopted > 0)
    log.info({ pins, pods: capture.pods.adopted }, "found in force what a process before left");
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
    logsConnections: logsConnections(node.logLevel),
    bypassMap,
    failsForTest: isTest ? failureOf(String(worker)) : undefined,
  }));
}

function keptSourcesOf({ node, nodes }: LoadedMesh, own: readonly IpAddress[]): ToWorker {
  const nodeAddresses = [...own, ...nodes.flatMap(({ addresses }) => addresses)];
  return { type: "keptSources", podCidrs: node.podCidrs, nodeAddresses };
}

/** SIGHUP, which must not end the process while it starts: the last one of that time is handled later. */
class Hangups {
  #handler: (() => void) | undefined;
  #isWaiting: boolean;

  constructor() {
    this.#handler = undefined;
    this.#isWaiting = false;
    process.on("SIGHUP", () => {
      if (this.#handler === undefined) this.#isWaiting = true;
      else this.#handler();
    });
  }

  handle(handler: () => void): void {
    this.#handler = handler;
    if (this.#isWaiting) handler();
    this.#isWaiting = false;
  }
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
  // Bytes that a reader does not take keep a reset stream open: they end with the process.
  const abandoned = over.promise.then(() => delay(abortGraceMs));
  await Promise.race([workers.drain(), abandoned]);
  await Promise.race([pods.left(), over.promise]);
  clearTimeout(timer);
}
