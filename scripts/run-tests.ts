// Runs the tests: every file of test/vm, unit, fuzz, native, kernel and netns in a process of its own, two at a time, a line per
// file. `npm test -- <pattern>` runs the files whose path contains the pattern or, when there is none, the tests whose
// title matches it. Afterwards nothing of the run may be left on the machine: a leftover fails it like a failed test.

import { spawn } from "node:child_process";
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cgroup2Mount, runPrefix } from "../test/netns/harness/run-directory.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** Of a whole file. The longest takes about half a minute on an idle machine; a shared one may stand still for seconds. */
const fileTimeoutMs = 480_000;
const testTimeoutMs = 240_000;

interface FileResult {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  /** Titles with reasons. */
  readonly skipped: readonly string[];
  readonly seconds: number;
  readonly report: string;
  readonly isOk: boolean;
}

const runId = `${process.pid}`;
// Test processes die with this one (setpriv), and with each of them what it made (harness/reaper.sh).
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
process.exitCode = await main(process.argv.slice(2));

async function main(patterns: readonly string[]): Promise<number> {
  const before = leftovers();
  const { files, titles } = select(patterns);
  if (files.length === 0) {
    console.error("no test file found");
    return 1;
  }
  const start = performance.now();
  const results: FileResult[] = [];
  const waiting = [...files];
  const runner = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const result = await runFile(file, titles);
      results.push(result);
      printFile(result);
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, runner));
  return summarize(results, await newLeftovers(before), (performance.now() - start) / 1000);
}

function select(patterns: readonly string[]): { files: string[]; titles: readonly string[] } {
  const all = ["vm", "unit", "fuzz", "native", "kernel", "netns"].flatMap((kind) =>
    globSync(`test/${kind}/**/*.test.ts`, { cwd: root }).sort(),
  );
  if (patterns.length === 0) return { files: all, titles: [] };
  const files = all.filter((file) => patterns.some((pattern) => file.includes(pattern)));
  return files.length > 0 ? { files, titles: [] } : { files: all, titles: patterns };
}

function runFile(file: string, titles: readonly string[]): Promise<FileResult> {
  const reporters = [
    ["tap", "stdout"],
    ["spec", "stderr"],
  ].flatMap(([name, to]) => [`--test-reporter=${name}`, `--test-reporter-destination=${to}`]);
  const options = [
    "--test",
    "--test-isolation=none",
    ...reporters,
    `--test-timeout=${testTimeoutMs}`,
    ...titles.map((t) => `--test-name-pattern=${t}`),
  ];
  const start = performance.now();
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", process.execPath, ...options, file], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, CULVERT_TEST_RUN: runId, NODE_ENV: "test" },
  });
  let tap = "";
  let report = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    tap += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    report += text;
  });
  const timer = setTimeout(() => {
    report += `${file}: killed after ${fileTimeoutMs / 1000} s; a test hangs, or has left something open that keeps its process alive\n`;
    child.kill("SIGKILL");
  }, fileTimeoutMs);
  return new Promise((resolve) => {
    child.once("close", (code) => {
      clearTimeout(timer);
      const count = (name: string) => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
      resolve({
        file,
        passed: count("pass"),
        failed: count("fail") + count("cancelled"),
        skipped: [...tap.matchAll(/^\s*ok \d+ - (.*) # SKIP ?(.*)$/gm)].map(
          ([, title, reason]) => `${title}: ${reason}`,
        ),
        seconds: (performance.now() - start) / 1000,
        report,
        isOk: code === 0,
      });
    });
  });
}

function printFile({ file, passed, failed, skipped, seconds, report, isOk }: FileResult): void {
  const counts = [
    `${passed} passed`,
    failed > 0 && `${failed} failed`,
    skipped.length > 0 && `${skipped.length} skipped`,
  ];
  const summary = counts.filter(Boolean).join(", ");
  console.log(`${isOk ? "ok  " : "FAIL"} ${file.padEnd(48)} ${summary.padEnd(12)} ${seconds.toFixed(1).padStart(6)} s`);
  for (const reason of skipped) console.log(`     skipped: ${reason}`);
  if (!isOk) console.log(report.replace(/^/gm, "     "));
}

function summarize(results: readonly FileResult[], left: readonly string[], seconds: number): number {
  const sum = (of: (result: FileResult) => number) => results.reduce((total, result) => total + of(result), 0);
  const bad = results.filter((result) => !result.isOk);
  const counts = `${sum((r) => r.passed)} passed, ${sum((r) => r.failed)} failed, ${sum((r) => r.skipped.length)} skipped`;
  console.log(`\n${results.length} files: ${counts}, ${seconds.toFixed(1)} s`);
  for (const { file } of bad) console.log(`failed: ${file}`);
  for (const leftover of left) console.log(`left behind: ${leftover}`);
  return bad.length > 0 || left.length > 0 ? 1 : 0;
}

/** Those that stay: the kernel takes a moment to let go of the last namespaces and links. */
async function newLeftovers(before: ReadonlySet<string>): Promise<string[]> {
  const deadline = performance.now() + 5_000;
  for (;;) {
    const left = [...leftovers()].filter((leftover) => !before.has(leftover));
    if (left.length === 0 || performance.now() > deadline) return left;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What bears this run's name; other runs on the machine are none of our business. */
function leftovers(): Set<string> {
  const name = `${runPrefix}${runId}-`;
  const named = (directory: string, what: string) =>
    (existsSync(directory) ? readdirSync(directory) : [])
      .filter((entry) => entry.startsWith(name))
      .map((entry) => `${what} ${join(directory, entry)}`);
  return new Set([
    ...named(tmpdir(), "directory"),
    ...named(cgroup2Mount(), "cgroup"),
    ...named("/run/netns", "network namespace"),
    ...named("/sys/fs/bpf", "pinned BPF object"),
    ...processesOfRun(),
  ]);
}

/** Whatever carries the run's id in its environment, wherever it moved. Namespaces, BPF links and maps that are not pinned live only by such processes. */
function processesOfRun(): string[] {
  return readdirSync("/proc").flatMap((entry) => {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return [];
    try {
      const isOurs = readFileSync(`/proc/${entry}/environ`, "latin1").split("\0").includes(`CULVERT_TEST_RUN=${runId}`);
      if (!isOurs) return [];
      return [`process ${entry}: ${readFileSync(`/proc/${entry}/cmdline`, "latin1").replaceAll("\0", " ")}`];
    } catch {
      return []; // Gone meanwhile.
    }
  });
}
