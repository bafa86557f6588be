// A worker thread: a reactor, a proxy on it, and the main thread's messages. An exception anywhere here ends the process
// (node.ts): a worker in an unknown state must not carry traffic, and new connections pass unproxied.

import { parentPort, workerData } from "node:worker_threads";
import { startHeartbeat } from "../kernel/heartbeat.ts";
import type { Question } from "../proxy/questions.ts";
import { WorkerProxy } from "../proxy/worker-proxy.ts";
import { Reactor } from "../runtime/reactor.ts";
import { WorkerCounters } from "../telemetry/counters.ts";
import { LineBatch } from "../telemetry/log.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./messages.ts";

const settings = workerData as WorkerSettings;
const port = parentPort!;
const post = (message: FromWorker) => port.postMessage(message);

const log = new LineBatch((lines) => post({ type: "log", lines }));
const reactor = new Reactor(settings);
const logConnection = (line: string) => log.add(line);
const proxy = new WorkerProxy({
  reactor,
  counters: new WorkerCounters(settings.counters, settings.worker),
  connectTimeoutMs: settings.connectTimeoutMs,
  detectTimeoutMs: settings.detectTimeoutMs,
  sourcePorts: settings.sourcePorts,
  random: Math.random,
  now: settings.failsForTest === undefined ? monotonicNow : failForTest,
  logEvent: (level, line) => post({ type: "event", level, line }),
  logConnection: settings.logsConnections ? logConnection : undefined,
  bypassMap: settings.bypassMap,
  onSourceRewritten: ({ client, server, family }) =>
    post({ type: "sourceRewritten", clientId: client.id, serverId: server.id, family }),
});

port.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "mesh":
      proxy.applyDelta(message.delta);
      post({ type: "meshApplied" });
      break;
    case "connectTimeout":
      proxy.connectTimeoutMs = message.milliseconds;
      break;
    case "keptSources":
      proxy.setKeptSources(message.podCidrs, message.nodeAddresses);
      break;
    case "addPod":
      proxy.addPod(message.pod, message.listeners, message.originalDestinationMap);
      post({ type: "podAdded", podId: message.pod.id });
      break;
    case "armPod":
      proxy.armPod(message.podId);
      break;
    case "removePod":
      proxy.removePod(
        message.podId,
        message.resetsStreams,
        () => post({ type: "podRemoved", podId: message.podId }),
        (keptSources) => post({ type: "podIdle", removal: message.removal, keptSources }),
      );
      break;
    case "ask":
      void answer(message.id, message.question);
      break;
    case "logConnections":
      proxy.logConnection = message.wanted ? logConnection : undefined;
      break;
    case "drain":
      proxy.whenIdle(() => post({ type: "drained" }));
      break;
    case "abort":
      proxy.abortStreams();
      break;
    case "stop":
      log.flush();
      reactor.close();
      port.close();
      break;
  }
});
startHeartbeat(settings.worker);
post({ type: "started" });

async function answer(id: number, question: Question): Promise<void> {
  for await (const part of proxy.answer(question)) post({ type: "part", id, part });
  post({ type: "answered", id });
}

/** Milliseconds since the epoch as the start had them: never steps back, so nothing waits for a clock that was set. */
function monotonicNow(): number {
  return Math.floor(performance.timeOrigin + performance.now());
}

function failForTest(): never {
  if (settings.failsForTest === "throw") {
    throw new Error(`worker ${settings.worker}: thrown for a test, as CULVERT_TEST_THROW asked`);
  }
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // To the loop as good as busy.
}
