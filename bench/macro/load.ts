// load.cc as TypeScript sees it: compiled when its sources change, started in a pod, its report read.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Host } from "../../test/netns/harness/host.ts";
import { projectRoot } from "../../test/netns/harness/tools.ts";

/** See the head of load.cc. */
export interface Load {
  mode: "closed" | "rate" | "bulk" | "connect" | "greeting";
  /** `address:port` or `[address]:port`, used in turn. */
  targets: readonly string[];
  durationMs: number;
  /** Before the measured window. */
  warmupMs?: number;
  connections?: number;
  /** Messages per second, for `rate`. */
  rate?: number;
  /** What the client says first, for `greeting`, in hexadecimal digits. */
  question?: string | undefined;
  /** Width of the series' buckets, for `connect`. */
  bucketMs?: number;
  /** Processes whose CPU time is taken. */
  watch: readonly number[];
}

export interface LoadReport {
  elapsedNs: number;
  processCpuNs: number;
  /** All CPUs; without idle, iowait and steal. Includes client and server. */
  machineCpuNs: number;
  /** Messages, bytes (`bulk`) or connections (`connect`, `greeting`) completed in the window. */
  count: number;
  p50Ns: number;
  p99Ns: number;
  series: readonly number[];
  errors: Readonly<Record<string, number>>;
}

let compiled: Promise<string> | undefined;

/** The path of the compiled program. */
export function loadProgram(): Promise<string> {
  compiled ??= compile();
  return compiled;
}

/** Runs a load in `client` to its end. Throws when it could not be run; errors of single connections are in the report. */
export async function runLoad(client: Host, load: Load): Promise<LoadReport> {
  const options: [string, number | string | undefined][] = [
    ["--question", load.question],
    ["--connections", load.connections],
    ["--rate", load.rate],
    ["--warmup-ms", load.warmupMs],
    ["--duration-ms", load.durationMs],
    ["--bucket-ms", load.bucketMs],
    ...load.watch.map((pid): [string, number] => ["--watch", pid]),
  ];
  const words = options.flatMap(([name, value]) => (value === undefined ? [] : [name, `${value}`]));
  const running = await client.start(await loadProgram(), load.mode, ...words, ...load.targets);
  running.endInput();
  const { code, signal } = await running.exited;
  if (code !== 0) {
    const why = `${signal ?? `exit code ${code}`}\n${running.stderr.join("\n")}`;
    throw new Error(`load ${load.mode} ${words.join(" ")} ${load.targets.join(" ")}: ${why}`);
  }
  return JSON.parse(running.stdout.items.join("")) as LoadReport;
}

async function compile(): Promise<string> {
  const sources = join(projectRoot, "bench/macro");
  const hash = createHash("sha256");
  for (const file of readdirSync(sources).sort()) {
    if (/\.(cc|h)$/.test(file)) hash.update(file).update(readFileSync(join(sources, file)));
  }
  const program = join(projectRoot, "build/bench", `load-${hash.digest("hex").slice(0, 12)}`);
  if (existsSync(program)) return program;
  mkdirSync(dirname(program), { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror"];
  await promisify(execFile)("g++", [...flags, join(sources, "load.cc"), "-o", unfinished]);
  renameSync(unfinished, program);
  return program;
}
