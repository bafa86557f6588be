// What one mesh owns on the machine, under one name: a cgroup (all its processes are below it), a temporary directory,
// a directory of the bpf file system, and the reaper that removes them when this process lets go of it, in whichever way it ends.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The leftover check of scripts/run-tests.ts looks for these names. */
export const runPrefix = "culvert-test-";
let meshes = 0;

export class RunDirectory {
  readonly name: string;
  readonly cgroup: string;
  readonly path: string;
  /** For nodes to pin BPF objects in; Culvert makes it. */
  readonly pins: string;
  readonly #reaper: ChildProcess;
  readonly #reaped: Promise<number | null>;
  #isRemoved = false;

  constructor() {
    this.name = `${runPrefix}${process.env.CULVERT_TEST_RUN ?? "x"}-${process.pid}-${meshes++}`;
    this.cgroup = join(cgroup2Mount(), this.name);
    this.path = join(tmpdir(), this.name);
    this.pins = join("/sys/fs/bpf", this.name);
    // Started before there is anything to remove. Its standard input ends with this process.
    const script = join(dirname(fileURLToPath(import.meta.url)), "reaper.sh");
    this.#reaper = spawn("/bin/sh", [script, this.cgroup, this.path, this.pins], {
      detached: true,
      stdio: ["pipe", "ignore", "inherit"],
    });
    this.#reaped = new Promise((resolve) => {
      this.#reaper.once("exit", resolve);
    });
    mkdirSync(this.path);
    mkdirSync(this.cgroup);
  }

  /** A cgroup below the mesh's own; made if missing. */
  makeCgroup(...names: string[]): string {
    this.#mustExist();
    const path = join(this.cgroup, ...names);
    mkdirSync(path, { recursive: true });
    return path;
  }

  makeDirectory(...names: string[]): string {
    this.#mustExist();
    const path = join(this.path, ...names);
    mkdirSync(path, { recursive: true });
    return path;
  }

  async remove(): Promise<void> {
    this.#isRemoved = true;
    this.#reaper.stdin!.end();
    if ((await this.#reaped) !== 0) throw new Error(`${this.name} could not be removed; the reaper said why above`);
  }

  /** Or a test that is still under way would make again what the reaper removed. */
  #mustExist(): void {
    if (this.#isRemoved) throw new Error(`${this.name} is removed already`);
  }
}

export function cgroup2Mount(): string {
  for (const line of readFileSync("/proc/self/mounts", "utf8").split("\n")) {
    const [, path, type] = line.split(" ");
    if (type === "cgroup2" && path !== undefined) return path;
  }
  throw new Error(
    "no cgroup v2 is mounted; mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
  );
}
