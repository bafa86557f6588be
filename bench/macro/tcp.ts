// `tcp`: what opaque TCP costs through each subject. In every round each subject does every piece of work once, in ABBA
// order, so that a figure's samples pair up by round. One message is 100 bytes there and 100 back. (`first-byte` is
// measured in the same way.)

import type { SampleBook } from "../figures.ts";
import { orderOfRound } from "../statistics.ts";
import type { Load, LoadReport } from "./load.ts";
import { type Applications, Place } from "./place.ts";
import { type Running, runThrough, startSubject } from "./running.ts";
import type { Subject } from "./subjects.ts";

export interface TcpSettings {
  readonly rounds: number;
  /** Of each piece of work. */
  readonly durationMs: number;
  readonly warmupMs: number;
}

export interface Work {
  readonly load: Pick<Load, "mode" | "connections" | "rate" | "question">;
  /** Which of the targets (place.ts). */
  readonly target: string;
  readonly figures: readonly Measure[];
}

interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly of: (report: LoadReport) => number;
  /** Of the proxy's process: unmeshed has none. */
  readonly needsProxy?: true;
}

const perSecond = (report: LoadReport) => report.count / (report.elapsedNs / 1e9);
const p50: Measure["of"] = ({ p50Ns }) => p50Ns / 1e3;
const p99: Measure["of"] = ({ p99Ns }) => p99Ns / 1e3;

/** CPU time of the proxy and of the whole machine for a unit of work: µs, or ms where `scale` makes the unit large. */
function cpu(suffix: string, unit = "µs", scale = 1e-3): Measure[] {
  return [
    { name: `cpu_${suffix}`, unit, needsProxy: true, of: (report) => (report.processCpuNs / report.count) * scale },
    { name: `machine_cpu_${suffix}`, unit, of: (report) => (report.machineCpuNs / report.count) * scale },
  ];
}

function times(suffix: string): Measure[] {
  return [
    { name: `rtt_us_${suffix}_p50`, unit: "µs", of: p50 },
    { name: `rtt_us_${suffix}_p99`, unit: "µs", of: p99 },
  ];
}

export const tcpWorks: readonly Work[] = [
  {
    load: { mode: "closed", connections: 64 },
    target: "echo",
    figures: [{ name: "requests_per_s_c64", unit: "1/s", of: perSecond }, ...cpu("us_per_message_c64")],
  },
  {
    load: { mode: "closed", connections: 1 },
    target: "echo",
    figures: [...times("c1"), ...cpu("us_per_message_c1")],
  },
  // 16 connections: at these rates each is idle most of the time, as real ones are.
  {
    load: { mode: "rate", connections: 16, rate: 2_000 },
    target: "echo",
    figures: [...cpu("us_per_message_2000"), ...times("2000")],
  },
  {
    load: { mode: "rate", connections: 16, rate: 10_000 },
    target: "echo",
    figures: [...cpu("us_per_message_10000"), ...times("10000")],
  },
  {
    load: { mode: "bulk" },
    target: "sink",
    figures: [
      { name: "bulk_gbytes_per_s", unit: "GB/s", of: ({ count, elapsedNs }) => count / elapsedNs },
      ...cpu("ms_per_gib_bulk", "ms", 2 ** 30 / 1e6),
    ],
  },
  {
    load: { mode: "connect", connections: 16 },
    target: "short",
    figures: [{ name: "connections_per_s", unit: "1/s", of: perSecond }, ...cpu("us_per_connection")],
  },
];

export async function measureWorks(
  works: readonly Work[],
  subjects: readonly Subject[],
  settings: TcpSettings,
  book: SampleBook,
  progress: (line: string) => void,
  applications: Applications = {},
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const running: Running[] = [];
  for (const subject of subjects) {
    running.push(await startSubject(subject, stack.use(await Place.start(applications))));
  }
  for (let round = 0; round < settings.rounds; ++round) {
    for (const work of works) {
      for (const one of orderOfRound(running, round)) await measure(one, work, settings, book);
    }
    progress(`round ${round + 1} of ${settings.rounds}`);
  }
}

async function measure(running: Running, work: Work, settings: TcpSettings, book: SampleBook): Promise<void> {
  const { subject, carrier } = running;
  const { durationMs, warmupMs } = settings;
  const report = await runThrough(running, {
    ...work.load,
    durationMs,
    warmupMs,
    targets: carrier.targets(4)[work.target]!,
  });
  // A figure taken while connections failed is not a figure.
  const errors = Object.entries(report.errors).map(([name, count]) => `${count} × ${name}`);
  if (errors.length > 0) throw new Error(`${subject.name}, ${work.load.mode}: ${errors.join(", ")}`);
  if (report.count === 0) throw new Error(`${subject.name}, ${work.load.mode}: nothing was completed`);
  for (const { name, unit, of, needsProxy } of work.figures) {
    if (!needsProxy || carrier.process !== undefined) book.add(name, unit, subject.name, of(report));
  }
}
