// npm run bench -- tcp | churn | first-byte | config | idle | reactor | tls   [--quick] [--rounds N] [--seconds S] [--subjects a,b,…] [--out FILE]
//
// Measures, prints a table, writes the result file (README.md says how to read them). What the run made (processes,
// namespaces, cgroups) is removed when this process ends, in whichever way: test/netns/harness/reaper.sh sees to it.

import { parseArgs } from "node:util";
import { SampleBook, toFigures } from "./figures.ts";
import { commit, machineFacts } from "./machine.ts";
import { measureChurn } from "./macro/churn.ts";
import { measureConfig } from "./macro/config.ts";
import { firstByteServers, firstByteWorks } from "./macro/first-byte.ts";
import { measureIdle } from "./macro/idle.ts";
import { subjects as proxies } from "./macro/subjects.ts";
import { measureWorks, tcpWorks, type Work } from "./macro/tcp.ts";
import { tlsSubjects } from "./macro/tls/subjects.ts";
import { measureTls } from "./macro/tls/tls.ts";
import { layers, measureLayers } from "./micro/layers.ts";
import { measureReactorCosts } from "./micro/reactor-costs.ts";
import { resultPath, table, writeResult } from "./report.ts";
import { defaultSeed } from "./statistics.ts";

interface Options {
  readonly quick: boolean;
  readonly rounds: number;
  readonly seconds: number;
  /** In the benchmark's order. */
  readonly subjects: readonly string[];
}

interface Subject {
  readonly name: string;
  /** What is missing on this machine and how to get it. */
  readonly missing?: () => string | undefined;
}

interface Benchmark {
  readonly subjects: readonly Subject[];
  readonly baselines: readonly string[];
  /** What a run needs at least to go to bench/results (house style, "Benchmarks"). */
  readonly full: { readonly rounds: number; readonly seconds: number };
  /** Returns the number of errors. */
  measure(options: Options, book: SampleBook): Promise<number>;
}

const progress = (line: string) => console.error(`bench: ${line}`);

const proxiesNamed = (names: readonly string[]) => proxies.filter(({ name }) => names.includes(name));

/** A benchmark of works that all subjects do in every round. */
function inRounds(works: readonly Work[], subjects: readonly Subject[], seconds: number, applications = {}): Benchmark {
  return {
    subjects,
    baselines: ["unmeshed", "haproxy-tcp"],
    full: { rounds: 10, seconds },
    measure: async ({ quick, rounds, seconds, subjects }, book) => {
      const settings = { rounds, durationMs: seconds * 1000, warmupMs: quick ? 20 : 300 };
      await measureWorks(works, proxiesNamed(subjects), settings, book, progress, applications);
      return 0;
    },
  };
}

const benchmarks: Readonly<Record<string, Benchmark>> = {
  tcp: inRounds(tcpWorks, proxies, 3),
  "first-byte": inRounds(
    firstByteWorks,
    proxiesNamed(["unmeshed", "culvert-relay", "haproxy-tcp"]),
    2,
    firstByteServers,
  ),
  reactor: {
    subjects: layers.map((name) => ({ name })),
    baselines: ["bytes"],
    full: { rounds: 10, seconds: 3 },
    measure: async ({ quick, rounds, seconds, subjects }, book) => {
      await measureReactorCosts(rounds, quick ? 0.05 : 1, book);
      const settings = { rounds, durationMs: seconds * 1000, warmupMs: quick ? 20 : 300 };
      await measureLayers(subjects, settings, book, progress);
      return 0;
    },
  },
  tls: {
    subjects: tlsSubjects,
    baselines: ["minimal-c", "haproxy-tls"],
    full: { rounds: 10, seconds: 3 },
    measure: async ({ quick, rounds, seconds, subjects }, book) => {
      const settings = {
        rounds,
        durationMs: seconds * 1000,
        stormHandshakes: quick ? 100 : 1000,
        idleSessions: quick ? ([50, 100] as const) : ([500, 2000] as const),
      };
      const chosen = tlsSubjects.filter(({ name }) => subjects.includes(name));
      await measureTls(chosen, settings, book, progress);
      return 0;
    },
  },
  churn: {
    subjects: proxiesNamed(["unmeshed", "culvert-relay"]),
    baselines: ["unmeshed"],
    full: { rounds: 1, seconds: 60 },
    measure: ({ quick, seconds, subjects }, book) =>
      measureChurn(
        proxiesNamed(subjects),
        { durationMs: seconds * 1000, bucketMs: quick ? 100 : 1000 },
        book,
        progress,
      ),
  },
  config: {
    subjects: proxiesNamed(["culvert-relay"]),
    baselines: [],
    full: { rounds: 10, seconds: 1 },
    measure: async ({ quick, rounds }, book) => {
      const size = quick
        ? { workloads: 200, services: 100, changes: 3 }
        : { workloads: 10_000, services: 5000, changes: 10 };
      await measureConfig({ rounds, ...size }, book, progress);
      return 0;
    },
  },
  idle: {
    subjects: proxiesNamed(["culvert-relay"]),
    baselines: [],
    full: { rounds: 5, seconds: 1 },
    measure: async ({ quick, rounds }, book) => {
      await measureIdle({ rounds, counts: quick ? [200, 400] : [1000, 3000, 9000] }, book, progress);
      return 0;
    },
  },
};

/** Pieces of work, or two families: about a second for each subject, or less. */
const quickSettings: Readonly<Record<string, { rounds: number; seconds: number }>> = {
  tcp: { rounds: 1, seconds: 0.15 },
  churn: { rounds: 1, seconds: 0.6 },
  reactor: { rounds: 1, seconds: 0.15 },
  "first-byte": { rounds: 1, seconds: 0.3 },
  config: { rounds: 1, seconds: 1 },
  idle: { rounds: 1, seconds: 1 },
  tls: { rounds: 1, seconds: 0.5 },
};

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      seconds: { type: "string" },
      subjects: { type: "string" },
      out: { type: "string" },
    },
  });
  const [name = ""] = positionals;
  const benchmark = benchmarks[name];
  if (benchmark === undefined || positionals.length !== 1)
    throw new Error(`which benchmark? one of ${Object.keys(benchmarks).join(", ")}; as in: npm run bench -- tcp`);
  const { quick } = values;
  const usual = quick ? quickSettings[name]! : benchmark.full;
  const rounds = positive("--rounds", values.rounds ?? `${usual.rounds}`);
  const seconds = positive("--seconds", values.seconds ?? `${usual.seconds}`);
  const subjects = choose(values.subjects?.split(","), benchmark, quick);

  const facts = { machine: machineFacts(), commit: commit() };
  const book = new SampleBook();
  const errorCount = await benchmark.measure({ quick, rounds, seconds, subjects }, book);

  const figures = toFigures(book.series(), benchmark.baselines);
  const settings = { rounds, seconds, quick, threadsPerProxy: 1, seed: defaultSeed, subjects };
  const isComplete =
    rounds >= benchmark.full.rounds &&
    seconds >= benchmark.full.seconds &&
    subjects.length === benchmark.subjects.length;
  const path = values.out ?? resultPath(name, isComplete);
  writeResult(path, { ...facts, settings, figures });
  console.log(table(figures, benchmark.baselines));
  progress(`written to ${path}${isComplete ? "" : " (not a complete run)"}`);
  if (errorCount > 0) progress(`${errorCount} errors; there must be none`);
  return errorCount > 0 ? 1 : 0;
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${option} ${text}: not a positive number`);
  return value;
}

/** In the benchmark's order. A quick run does without peers that are not installed, and says so. */
function choose(names: readonly string[] | undefined, { subjects }: Benchmark, quick: boolean): string[] {
  const known = subjects.map(({ name }) => name);
  for (const name of names ?? []) {
    if (!known.includes(name)) throw new Error(`--subjects ${name}: unknown; one of ${known.join(", ")}`);
  }
  const chosen = subjects.filter(({ name, missing }) => {
    if (names !== undefined && !names.includes(name)) return false;
    const what = missing?.();
    if (what === undefined) return true;
    if (!quick) throw new Error(`${name} is not installed; ${what}`);
    progress(`left out: ${name} is not installed; ${what}`);
    return false;
  });
  return chosen.map(({ name }) => name);
}

try {
  process.exitCode = await main();
} catch (error) {
  progress(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
