// Two traps of a reactor in a worker's loop, each met before: an open uv_poll when the worker ends aborts the process, and
// an exception in the turn's callback surfaces somewhere else. Each case is a process of its own, for it may abort.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const fixture = new URL("./reactor-fixture.ts", import.meta.url).href;

/** Runs `inWorker` in a worker thread that has `fixture` (a ReactorFixture) and `dial`; prints what the main thread sees. */
function runWorker(inWorker: string, inMain = "") {
  const worker = `
    import { parentPort } from "node:worker_threads";
    import { ReactorFixture, Recorder } from ${JSON.stringify(fixture)};
    const handler = new Recorder();
    const fixture = new ReactorFixture(() => handler);
    ${inWorker}`;
  const main = `
    import { Worker } from "node:worker_threads";
    const worker = new Worker(new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(worker)}`)}));
    worker.on("message", (message) => { ${inMain} });
    worker.on("error", (error) => console.log("error:", error.message));
    worker.on("exit", (code) => setTimeout(() => console.log("exit:", code), 20));`;
  const { stdout, stderr, status, signal } = spawnSync(
    process.execPath,
    ["--input-type=module", "--no-warnings", "-e", main],
    { encoding: "utf8", timeout: 20_000 },
  );
  return { lines: stdout.trim().split("\n"), stderr, status, signal };
}

test("a worker that ends with an open reactor does not abort the process", () => {
  for (const [inWorker, inMain, code] of [
    ["process.exit(3);", "", "3"],
    ['await fixture.dial(); parentPort.postMessage("up");', "worker.terminate();", "1"],
  ] as const) {
    const { lines, stderr, status, signal } = runWorker(inWorker, inMain);
    assert.deepEqual({ lines, status, signal }, { lines: [`exit: ${code}`], status: 0, signal: null }, stderr);
  }
});

test("an exception in a handler is the worker's error, at once", () => {
  const { lines, stderr, status } = runWorker(`
    handler.onData = () => { throw new Error("from a handler"); };
    setInterval(() => {}, 1000);
    (await fixture.dial()).write("x");`);
  assert.deepEqual({ lines, status }, { lines: ["error: from a handler", "exit: 1"], status: 0 }, stderr);
});

test("a rejected promise of a handler is the worker's error", () => {
  const { lines, stderr } = runWorker(`
    handler.onData = () => { Promise.reject(new Error("from a promise")); };
    (await fixture.dial()).write("x");`);
  assert.deepEqual(lines, ["error: from a promise", "exit: 1"], stderr);
});
