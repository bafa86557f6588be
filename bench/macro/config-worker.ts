// A thread that does with changes of the mesh what a worker does, and else turns its loop as fast as it can: the longest gap
// between two turns since the last change is how long it stood still. The machine may take the thread off its CPU, and the
// host the machine off its own: what the thread waited for a CPU is no part of a gap, and a gap is not more than the CPU that
// was used in it, which the kernel brings up to date once a tick.

import { openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import type { MeshDelta } from "../../src/mesh/mesh-delta.ts";
import { MeshIndex } from "../../src/mesh/mesh-index.ts";

const tickMs = 4;
const nsPerMs = 1e6;
const space = 32;
const digitZero = 48;
/** Of the thread that opens it: ns on a CPU, ns that it waited for one, how often it got one. */
const schedstat = openSync("/proc/thread-self/schedstat", "r");
const text = Buffer.alloc(96);
const index = new MeshIndex();
let wallMs = 0;
let usedMs = 0;
let waitedMs = 0;
let longestMs = 0;
let isAnswerDue = false;

parentPort!.on("message", (delta: MeshDelta) => {
  index.apply(delta);
  isAnswerDue = true;
});

look();
setImmediate(turn);

function turn(): void {
  const [wall, used, waited] = [wallMs, usedMs, waitedMs];
  look();
  longestMs = Math.max(longestMs, Math.min(wallMs - wall - (waitedMs - waited), usedMs - used + tickMs));
  if (isAnswerDue) {
    parentPort!.postMessage(longestMs);
    isAnswerDue = false;
    longestMs = 0;
    look();
  }
  setImmediate(turn);
}

/** Makes hardly any garbage: this thread's own would be what is measured. */
function look(): void {
  readSync(schedstat, text, 0, text.length, 0);
  const end = text.indexOf(space);
  wallMs = performance.now();
  usedMs = numberAt(0) / nsPerMs;
  waitedMs = numberAt(end + 1) / nsPerMs;
}

function numberAt(start: number): number {
  let value = 0;
  for (let at = start; text[at]! >= digitZero; at++) value = value * 10 + text[at]! - digitZero;
  return value;
}
