import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { LineBatch, NodeLog } from "../../../src/telemetry/log.ts";

function capture() {
  const written: string[] = [];
  return { written, output: { write: (lines: string) => void written.push(lines), flushed: async () => {} } };
}

describe("the logger", () => {
  test("writes one JSON line with level, time and message, without process id and host name", () => {
    const { written, output } = capture();
    new NodeLog("info", output).logger.info({ node: "a", pods: 3 }, "ready");
    assert.equal(written.length, 1);
    assert.ok(written[0]!.endsWith("}\n"));
    const { time, ...rest } = JSON.parse(written[0]!);
    assert.deepEqual(rest, { level: "info", msg: "ready", node: "a", pods: 3 });
    assert.equal(new Date(time).toISOString(), time);
  });

  test("keeps quiet below its level", () => {
    const { written, output } = capture();
    const logger = new NodeLog("warn", output).logger;
    logger.info("not this");
    logger.warn("this");
    assert.equal(written.length, 1);
  });

  test("writes an error with its code, stack and cause", () => {
    const { written, output } = capture();
    new NodeLog("info", output).logger.fatal(
      { err: new Error("outer", { cause: new Error("inner") }) },
      "worker failed",
    );
    const { level, err } = JSON.parse(written[0]!);
    assert.equal(level, "fatal");
    assert.match(err.message, /outer: inner/);
    assert.match(err.stack, /log\.test\.ts/);
  });
});

const log = JSON.stringify(new URL("../../../src/telemetry/log.ts", import.meta.url).href);
const run = (code: string) =>
  spawn(
    process.execPath,
    ["--input-type=module", "-e", `const { NodeLog, openLogOutput } = await import(${log});\n${code}`],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );

describe("standard output", () => {
  test("has every line when the process exits, those of workers between those of the main thread", async () => {
    const child = run(`
      const output = openLogOutput();
      const logger = new NodeLog("info", output).logger;
      for (let i = 0; i < 2000; i++) { logger.info({ i }, "x"); output.write('{"i":' + i + '}\\n'); }
      process.exit(3);`);
    const [lines, [code]] = await Promise.all([text(child.stdout!), once(child, "exit")]);
    assert.equal(code, 3);
    const indices = lines
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).i);
    assert.deepEqual(
      indices,
      Array.from({ length: 4000 }, (_, k) => k >> 1),
    );
  });

  test("that nobody reads neither stops the process nor fills its memory: lines are dropped and told", async () => {
    const child = run(`
      let dropped = 0;
      const output = openLogOutput(1, (lines) => { dropped += lines.length; });
      const line = "x".repeat(1023) + "\\n";
      for (let i = 0; i < 100; i++) {
        for (let k = 0; k < 1024; k++) output.write(line);
        await new Promise(setImmediate);
      }
      process.stderr.write("", () => process.kill(process.pid, dropped > 80 * 2 ** 20 ? "SIGUSR2" : "SIGTERM"));`);
    // stdout is not read: a pipe holds 64 KiB.
    const [, signal] = await once(child, "exit");
    assert.equal(signal, "SIGUSR2");
  });
});

describe("standard output that takes nothing any more", () => {
  for (const { what, fails } of [
    { what: "a disk is full", fails: "openSync('/dev/full', 'w')" },
    {
      what: "a descriptor was closed",
      fails: "(() => { const fd = openSync('/dev/null', 'w'); closeSync(fd); return fd; })()",
    },
  ]) {
    test(`because ${what} costs the lines and nothing else: the process goes on, and ends as it would`, async () => {
      const child = run(`
        const { closeSync, openSync } = await import("node:fs");
        const output = openLogOutput(${fails});
        const { logger } = new NodeLog("info", output);
        for (let i = 0; i < 3; i++) {
          logger.info({ i }, "lost");
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        await output.flushed();
        process.stdout.write("goes on");
        process.exitCode = 3;`);
      const [said, [code, signal]] = await Promise.all([text(child.stdout!), once(child, "exit")]);
      assert.deepEqual({ said, code, signal }, { said: "goes on", code: 3, signal: null });
    });
  }
});

test("standard output that nobody reads keeps no process from ending", async () => {
  const child = run(`
    const output = openLogOutput();
    for (let i = 0; i < 200; i++) output.write("x".repeat(1023) + "\\n");
    await output.flushed();
    process.exit(3);`);
  // A pipe holds 64 KiB.
  const [code] = await once(child, "exit");
  assert.equal(code, 3);
});

describe("a worker's batch of lines", () => {
  test("is posted whole, 50 ms after its first line", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const posted: string[] = [];
    const batch = new LineBatch((lines) => posted.push(lines));
    batch.add("a");
    t.mock.timers.tick(30);
    batch.add("b");
    t.mock.timers.tick(19);
    assert.deepEqual(posted, []);
    t.mock.timers.tick(1);
    assert.deepEqual(posted, ["a\nb\n"]);
    batch.add("c");
    t.mock.timers.tick(50);
    assert.deepEqual(posted, ["a\nb\n", "c\n"]);
  });

  test("is posted at once when it holds 64 KiB, and its timer does not post the next one early", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const posted: string[] = [];
    const batch = new LineBatch((lines) => posted.push(lines));
    const line = "x".repeat(1023);
    for (let i = 0; i < 63; i++) batch.add(line);
    t.mock.timers.tick(40);
    assert.equal(posted.length, 0);
    batch.add(line);
    assert.equal(posted.length, 1);
    assert.equal(posted[0]!.length, 65536);
    batch.add("next");
    t.mock.timers.tick(10);
    assert.equal(posted.length, 1);
    t.mock.timers.tick(40);
    assert.equal(posted[1], "next\n");
  });

  test("can be posted early, and is not posted empty", (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const posted: string[] = [];
    const batch = new LineBatch((lines) => posted.push(lines));
    batch.flush();
    batch.add("a");
    batch.flush();
    batch.flush();
    t.mock.timers.tick(1000);
    assert.deepEqual(posted, ["a\n"]);
  });
});
