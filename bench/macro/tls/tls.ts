// `tls`: what records and handshakes cost beside the least a C program can do with the same library, and beside HAProxy; and
// what a neighbour notices of a storm of handshakes that are refused.

import { Authority } from "../../../test/unit/runtime/tls/certificates.ts";
import { Credentials } from "../../../test/unit/runtime/tls/peers/peers.ts";
import type { SampleBook } from "../../figures.ts";
import { orderOfRound } from "../../statistics.ts";
import type { LoadReport } from "../load.ts";
import { countOf, loadReport, startPeer } from "./peer.ts";
import type { TlsServer, TlsSubject } from "./subjects.ts";

export interface TlsSettings {
  readonly rounds: number;
  readonly durationMs: number;
  readonly stormHandshakes: number;
  /** What a session of those between the two counts costs. */
  readonly idleSessions: readonly [few: number, many: number];
}

interface TlsFigure {
  readonly name: string;
  readonly unit: string;
  of(report: LoadReport): number;
}

const perSecond = ({ count, elapsedNs }: LoadReport) => (count / elapsedNs) * 1e9;
const cpuPer = (unitNs: number) => (report: LoadReport) => report.processCpuNs / report.count / unitNs;

const works: readonly {
  readonly words: readonly [mode: string, ...rest: string[]];
  readonly figures: readonly TlsFigure[];
}[] = [
  {
    words: ["messages", "64"],
    figures: [
      { name: "requests_per_s_c64", unit: "1/s", of: perSecond },
      { name: "cpu_us_per_message_c64", unit: "µs", of: cpuPer(1e3) },
    ],
  },
  {
    words: ["messages", "1"],
    figures: [
      { name: "rtt_us_c1_p50", unit: "µs", of: ({ p50Ns }) => p50Ns / 1e3 },
      { name: "cpu_us_per_message_c1", unit: "µs", of: cpuPer(1e3) },
    ],
  },
  {
    words: ["bulk"],
    figures: [
      { name: "bulk_gbytes_per_s", unit: "GB/s", of: ({ count, elapsedNs }) => count / elapsedNs },
      // A record there and a record back.
      {
        name: "cpu_us_per_16k_echoed",
        unit: "µs",
        of: (report) => (report.processCpuNs / report.count / 1e3) * 16_384,
      },
      // What a core of it would carry: the client is not counted.
      { name: "bulk_gbytes_per_core_s", unit: "GB/s", of: ({ count, processCpuNs }) => count / processCpuNs },
    ],
  },
  {
    words: ["handshakes", "16"],
    figures: [
      { name: "handshakes_per_s", unit: "1/s", of: perSecond },
      { name: "handshakes_per_core_s", unit: "1/s", of: ({ count, processCpuNs }) => (count / processCpuNs) * 1e9 },
    ],
  },
];

export async function measureTls(
  subjects: readonly TlsSubject[],
  settings: TlsSettings,
  book: SampleBook,
  progress: (line: string) => void,
): Promise<void> {
  using stack = new DisposableStack();
  const mesh = new Authority("bench root");
  const servers: { subject: TlsSubject; server: TlsServer; directory: string }[] = [];
  for (const subject of subjects) {
    const { directory } = stack.use(new Credentials(mesh.issue(), mesh.root));
    servers.push({ subject, server: await subject.start(directory, stack), directory });
  }
  const milliseconds = `${Math.round(settings.durationMs)}`;
  for (let round = 0; round < settings.rounds; ++round) {
    for (const { words, figures } of works) {
      const [mode, ...rest] = words;
      for (const { subject, server, directory } of orderOfRound(servers, round)) {
        const report = await loadReport(mode, directory, `${server.port}`, `${server.pid}`, milliseconds, ...rest);
        if (report.count === 0) throw new Error(`${subject.name}, ${mode}: nothing was completed`);
        for (const { name, unit, of } of figures) book.add(name, unit, subject.name, of(report));
      }
    }
    for (const { subject, server, directory } of orderOfRound(servers, round)) {
      await measureStorm(subject, server, directory, settings, book);
    }
    for (const { subject, directory } of orderOfRound(servers, round)) {
      await measureIdle(subject, directory, settings.idleSessions, book);
    }
    progress(`round ${round + 1} of ${settings.rounds}`);
  }
}

/** Of a server of its own: memory that another round has left would be used again. */
async function measureIdle(
  subject: TlsSubject,
  directory: string,
  [few, many]: TlsSettings["idleSessions"],
  book: SampleBook,
): Promise<void> {
  using stack = new DisposableStack();
  const { port, pid } = await subject.start(directory, stack);
  const bytes = await countOf("idle", directory, `${port}`, `${pid}`, `${few}`, `${many}`);
  book.add("idle_bytes_per_session", "bytes", subject.name, bytes);
}

/** The neighbour's times beside quiet, and during a storm that lasts as long as it takes. */
async function measureStorm(
  { name }: TlsSubject,
  { port, pid }: TlsServer,
  directory: string,
  { durationMs, stormHandshakes }: TlsSettings,
  book: SampleBook,
): Promise<void> {
  for (const weather of ["quiet", "storm"]) {
    using neighbour = await startPeer("neighbour", directory, `${port}`, `${pid}`, `${Math.round(durationMs)}`);
    await neighbour.line();
    const storms = async () => {
      const refused = await countOf("storm", directory, `${port}`, `${stormHandshakes}`);
      if (refused !== stormHandshakes) throw new Error(`${name}: ${refused} handshakes refused of ${stormHandshakes}`);
    };
    const [line] = await Promise.all([neighbour.line(), weather === "storm" ? storms() : undefined]);
    const report = JSON.parse(line) as LoadReport;
    book.add(`neighbour_p50_us_${weather}`, "µs", name, report.p50Ns / 1e3);
    book.add(`neighbour_p99_us_${weather}`, "µs", name, report.p99Ns / 1e3);
  }
}
