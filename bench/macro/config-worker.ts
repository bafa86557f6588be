// A thread that does with changes of the mesh what a worker does, and else turns its loop as fast as it can: the longest gap
// between two turns since the last change is how long it stood still. The machine may take the thread off its CPU meanwhile:
// a gap is not more than the CPU that was used in it, which is counted in ticks.

import { parentPort } from "node:worker_threads";
import type { MeshDelta } from "../../src/mesh/mesh-delta.ts";
import { MeshIndex } from "../../src/mesh/mesh-index.ts";

const tickMs = 4;
const index = new MeshIndex();
let last = { wallMs: performance.now(), cpuMs: cpuMs() };
let longestMs = 0;
let isAnswerDue = false;

parentPort!.on("message", (delta: MeshDelta) => {
  index.apply(delta);
  isAnswerDue = true;
});

setImmediate(turn);

function turn(): void {
  const now = { wallMs: performance.now(), cpuMs: cpuMs() };
  longestMs = Math.max(longestMs, Math.min(now.wallMs - last.wallMs, now.cpuMs - last.cpuMs + tickMs));
  last = now;
  if (isAnswerDue) {
    parentPort!.postMessage(longestMs);
    isAnswerDue = false;
    longestMs = 0;
    last = { wallMs: performance.now(), cpuMs: cpuMs() };
  }
  setImmediate(turn);
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
