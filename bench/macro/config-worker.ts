// A thread that does with changes of the mesh what a worker does, and else turns its loop as fast as it can: the longest gap
// between two turns since the last change is how long it stood still.

import { parentPort } from "node:worker_threads";
import type { MeshDelta } from "../../src/mesh/mesh-delta.ts";
import { MeshIndex } from "../../src/mesh/mesh-index.ts";

const index = new MeshIndex();
let lastMs = performance.now();
let longestMs = 0;
let isAnswerDue = false;

parentPort!.on("message", (delta: MeshDelta) => {
  index.apply(delta);
  isAnswerDue = true;
});

setImmediate(turn);

function turn(): void {
  const nowMs = performance.now();
  longestMs = Math.max(longestMs, nowMs - lastMs);
  lastMs = nowMs;
  if (isAnswerDue) {
    parentPort!.postMessage(longestMs);
    isAnswerDue = false;
    longestMs = 0;
    lastMs = performance.now();
  }
  setImmediate(turn);
}
