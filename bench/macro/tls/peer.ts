// peer.cc as TypeScript sees it: compiled when its sources change, and run, each time in a process of its own of this Node,
// whose OpenSSL it uses. Started as a program, this file is such a process.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { LoadReport } from "../load.ts";

const here = import.meta.dirname;
const root = join(here, "../../..");

/** The path of the compiled addon. */
export async function peerAddon(): Promise<string> {
  const source = join(here, "peer.cc");
  const hash = createHash("sha256");
  for (const file of [source, join(here, "session.h"), join(here, "../meter.h")]) hash.update(readFileSync(file));
  const addon = join(root, "build/bench", `tls-peer-${hash.digest("hex").slice(0, 12)}.node`);
  if (existsSync(addon)) return addon;
  mkdirSync(dirname(addon), { recursive: true });
  const unfinished = `${addon}.${process.pid}`;
  const headers = join(dirname(dirname(process.execPath)), "include/node");
  const flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"];
  await promisify(execFile)("g++", [...flags, "-DNAPI_VERSION=9", "-I", headers, source, "-o", unfinished]);
  renameSync(unfinished, addon);
  return addon;
}

/** A process that says something in lines, and ends with this one. */
export class Running implements Disposable {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = "";

  constructor(program: string, words: readonly string[]) {
    this.process = spawn("setpriv", ["--pdeathsig", "KILL", "--", program, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.process.stderr!.on("data", (chunk: Buffer) => {
      this.#errors += chunk;
    });
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.process.pid!;
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${this.process.spawnargs.slice(4).join(" ")} ended: ${this.#errors}`);
    return value;
  }

  [Symbol.dispose](): void {
    this.process.kill("SIGKILL");
  }
}

/** Runs peer.cc with those words. */
export async function startPeer(...words: readonly string[]): Promise<Running> {
  return new Running(process.execPath, [fileURLToPath(import.meta.url), await peerAddon(), ...words]);
}

/** Runs a load to its end. */
export async function loadReport(...words: readonly string[]): Promise<LoadReport> {
  using running = await startPeer(...words);
  return JSON.parse(await running.line()) as LoadReport;
}

/** Runs what prints a number at its end. */
export async function countOf(...words: readonly string[]): Promise<number> {
  using running = await startPeer(...words);
  const count = Number(await running.line());
  if (running.process.exitCode === null) await once(running.process, "exit");
  return count;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [addon, ...words] = process.argv.slice(2);
  const { run } = createRequire(import.meta.url)(addon!) as { run(...words: readonly string[]): void };
  run(...words);
}
