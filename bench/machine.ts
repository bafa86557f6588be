// The facts about machine and code without which a figure means nothing.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, loadavg, release, totalmem } from "node:os";

export function machineFacts(): Record<string, string | number> {
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
  return {
    cpu: model ?? process.arch,
    cpus: availableParallelism(),
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.versions.node,
    haproxy: firstLine("haproxy", "-v"),
    nginx: firstLine("nginx", "-v"),
    // Above about 0.5 somebody else was at work.
    loadAverageBefore: loadavg()[0]!,
  };
}

/** The commit's hash, with "-dirty" when the tree has changes that are in no commit. */
export function commit(): string {
  return firstLine("git", "-C", import.meta.dirname, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*");
}

/** Of standard output, or of standard error where programs print their version there; "absent" when it cannot run. */
function firstLine(program: string, ...words: string[]): string {
  try {
    const output = execFileSync("/bin/sh", ["-c", 'exec "$@" 2>&1', "sh", program, ...words], { encoding: "utf8" });
    return output.split("\n")[0]!.trim();
  } catch {
    return "absent";
  }
}
