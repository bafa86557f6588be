// What each layer of the pipeline costs on top of the one below it (design: "a number that a benchmark prints"). Every
// layer is a relay of its own between the same client and server, all on the loopback of one namespace:
//
//   bytes       epoll, recv, send: the least a relay can do                     relay.cc
//   reactor     native/reactor with a script in C++                             relay.cc
//   typescript  the same with the least script in TypeScript                    relay.ts
//   stream      src/proxy: streams, what protocol they speak                    relay.ts
//   proxy       and service look-up, balancing, access log, counters            relay.ts
//
// Figures of `layer_…` are differences to the layer before, of samples taken in the same round.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Host } from "../../test/netns/harness/host.ts";
import { Mesh } from "../../test/netns/harness/mesh.ts";
import type { RunningProcess } from "../../test/netns/harness/running-process.ts";
import { projectRoot } from "../../test/netns/harness/tools.ts";
import type { SampleBook } from "../figures.ts";
import { type Load, type LoadReport, loadProgram, runLoad } from "../macro/load.ts";
import { echoPort, server } from "../macro/place.ts";
import { orderOfRound } from "../statistics.ts";

export interface LayerSettings {
  readonly rounds: number;
  readonly durationMs: number;
  readonly warmupMs: number;
}

export const layers = ["bytes", "reactor", "typescript", "stream", "proxy"] as const;
type Layer = (typeof layers)[number];

interface Relay {
  readonly layer: Layer;
  readonly port: number;
  readonly running: RunningProcess;
}

const firstRelayPort = 7100;

interface Work {
  readonly load: Pick<Load, "mode" | "connections" | "rate">;
  readonly suffix: string;
}

const works: readonly Work[] = [
  { load: { mode: "closed", connections: 64 }, suffix: "us_per_message_c64" },
  { load: { mode: "rate", connections: 16, rate: 2_000 }, suffix: "us_per_message_2000" },
  { load: { mode: "connect", connections: 16 }, suffix: "us_per_connection" },
];

export async function measureLayers(
  chosen: readonly string[],
  settings: LayerSettings,
  book: SampleBook,
  progress: (line: string) => void,
): Promise<void> {
  await using mesh = await Mesh.start();
  const host = mesh.node("node").pod("client");
  host.serve(server(await loadProgram()));
  const relays: Relay[] = [];
  for (const [i, layer] of layers.entries()) {
    if (chosen.includes(layer)) relays.push(await start(layer, host, firstRelayPort + i));
  }
  for (let round = 0; round < settings.rounds; ++round) {
    for (const { load, suffix } of works) {
      const samples = new Map<Layer, number>();
      for (const relay of orderOfRound(relays, round)) {
        const report = await runLoad(host, {
          ...load,
          durationMs: settings.durationMs,
          warmupMs: settings.warmupMs,
          targets: [`127.0.0.1:${relay.port}`],
          watch: [relay.running.pid],
        });
        samples.set(relay.layer, cpuPerUnit(relay, report));
      }
      addFigures(book, suffix, relays, samples);
    }
    progress(`layers: round ${round + 1} of ${settings.rounds}`);
  }
}

function cpuPerUnit({ layer, running }: Relay, report: LoadReport): number {
  if (running.hasExited) throw new Error(`layer ${layer} ended: ${running.stderr.join("\n  ")}`);
  const errors = Object.entries(report.errors).map(([name, count]) => `${count} × ${name}`);
  if (errors.length > 0 || report.count === 0) throw new Error(`layer ${layer}: ${errors.join(", ") || "no message"}`);
  return report.processCpuNs / report.count / 1e3;
}

function addFigures(
  book: SampleBook,
  suffix: string,
  relays: readonly Relay[],
  samples: ReadonlyMap<Layer, number>,
): void {
  for (const { layer } of relays) book.add(`cpu_${suffix}`, "µs", layer, samples.get(layer)!);
  let below = 0;
  for (const { layer } of relays) {
    book.add(`layer_${suffix}`, "µs more", layer, samples.get(layer)! - below);
    below = samples.get(layer)!;
  }
}

async function start(layer: Layer, host: Host, port: number): Promise<Relay> {
  const isNative = layer === "bytes" || layer === "reactor";
  const script = [process.execPath, "--disable-warning=ExperimentalWarning", join(import.meta.dirname, "relay.ts")];
  const [program, ...words] = isNative ? [await nativeRelay()] : script;
  const running = await host.start(program!, ...words, layer, `${port}`, `${echoPort}`);
  await host.untilListening(running, [port]);
  return { layer, port, running };
}

/** Compiled with the flags of the addon (native/binding.gyp). */
async function nativeRelay(): Promise<string> {
  const core = globSync("native/{reactor,netns,tls}/*.{cc,h}", { cwd: projectRoot }).filter(
    (file) => !/_napi\.|tls_library\.cc/.test(file),
  );
  const files = [...core, ...globSync("bench/micro/*.{cc,h}", { cwd: projectRoot })].sort();
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(join(projectRoot, file)));
  const program = join(projectRoot, "build/bench", `relay-${hash.digest("hex").slice(0, 12)}`);
  if (existsSync(program)) return program;
  mkdirSync(dirname(program), { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const flags = ["-std=c++20", "-O2", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Werror", "-I", "native"];
  const sources = files.filter((file) => file.endsWith(".cc"));
  await promisify(execFile)(
    "g++",
    [...flags, ...sources, "-o", unfinished, "-lbpf", "-lssl", "-lcrypto", "-lpthread"],
    {
      cwd: projectRoot,
    },
  );
  renameSync(unfinished, program);
  return program;
}
