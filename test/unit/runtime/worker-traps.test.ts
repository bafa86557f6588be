// Traps of a reactor in a worker's loop, each met before: an open uv_poll when the worker ends aborts the process, an exception
// in the turn's callback surfaces somewhere else, and each way through the loop costs more than a message. Each case is a process of its own, for it may abort.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { stat } from "./reactor-fixture.ts";

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

test("a turn goes on while it waits: messages with pauses between them are rounds, not turns", () => {
  const { lines, stderr } = runWorker(
    `
    handler.onData = (connection, ...slice) => connection.write(...slice, true);
    parentPort.postMessage({ port: fixture.port, stats: fixture.stats });`,
    `
    import("node:net").then(({ connect }) => {
      const socket = connect(message.port, "127.0.0.1");
      const [turns, rounds] = [${stat.turns}, ${stat.rounds}];
      let before;
      let count = 0;
      socket.on("connect", () => socket.write("x"));
      socket.on("data", () => {
        before ??= [...message.stats];
        if (++count <= 40) return setTimeout(() => socket.write("x"), 8);
        const after = message.stats;
        console.log(after[rounds] - before[rounds] >= 40, after[turns] - before[turns] < 30);
        process.exit();
      });
    });`,
  );
  assert.deepEqual(lines, ["true true"], stderr);
});
