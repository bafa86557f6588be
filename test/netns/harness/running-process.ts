// A program started by the harness: its lines, its end, its memory. It runs in the cgroup it is given, so that the
// reaper finds it whatever happens to the test, and in the network namespace it is given, if any.

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Journal } from "./journal.ts";

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Placement {
  /** Directory of the cgroup. */
  readonly cgroup: string;
  /** Path of the namespace; the caller's own without it. */
  readonly netns?: string;
  readonly env?: Readonly<Record<string, string>>;
}

// The shell joins the cgroup before it becomes the program: a socket belongs to the cgroup in which it was created.
const join = 'echo 0 >"$1/cgroup.procs" || exit 126; shift; exec "$@"';

export class RunningProcess {
  readonly name: string;
  readonly pid: number;
  readonly stdout: Journal<string>;
  readonly stderr: string[] = [];
  readonly exited: Promise<Exit>;
  hasExited = false;
  readonly #child: ChildProcess;

  constructor(name: string, command: readonly string[], placement: Placement) {
    const enter = placement.netns === undefined ? [] : ["nsenter", `--net=${placement.netns}`, "--"];
    // Own session: Ctrl-C at a terminal is for the runner alone, which ends its programs itself.
    this.#child = spawn("/bin/sh", ["-c", join, "sh", placement.cgroup, ...enter, ...command], {
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...placement.env },
    });
    this.name = name;
    this.pid = this.#child.pid!;
    this.stdout = new Journal(`stdout of ${name}`);
    this.#child.stdin!.on("error", () => {}); // EPIPE: the program's end is reported by `exited`.
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.stdout.push(line));
    createInterface({ input: this.#child.stderr! }).on("line", (line) => this.stderr.push(line));
    this.exited = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        this.hasExited = true;
        const errors = this.stderr.length > 0 ? `; stderr: ${this.stderr.slice(-12).join("\n  ")}` : "";
        this.stdout.end(`${name} ended (${signal ?? `exit code ${code}`})${errors}`);
        resolve({ code, signal });
      });
    });
  }

  writeLine(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  endInput(): void {
    this.#child.stdin!.end();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  residentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }
}
