// What a bug report should say of the machine: the kernel, its cgroups and bpf file systems, memory and processors.

import { readFileSync } from "node:fs";
import { arch, availableParallelism, freemem, loadavg, release, totalmem, uptime, version } from "node:os";
import { systemWords } from "../../telemetry/system-words.ts";

const notRead = "could not be read";
const mountTypes = ["cgroup", "cgroup2", "bpf"];

export function machineFacts(): Record<string, unknown> {
  return {
    kernel: { release: release(), version: version(), arch: arch() },
    distribution: linesOf("/etc/os-release", (line) => line.startsWith("PRETTY_NAME=")),
    processors: availableParallelism(),
    memoryBytes: { total: totalmem(), free: freemem() },
    load: loadavg(),
    uptimeSeconds: uptime(),
    node: process.version,
    mounts: linesOf("/proc/self/mounts", (line) => mountTypes.includes(line.split(" ")[2] ?? "")),
    limits: linesOf("/proc/self/limits", (line) => /^Max (open files|locked memory)/.test(line)),
    sysctls: Object.fromEntries(
      [
        "net/core/somaxconn",
        "net/ipv4/tcp_tw_reuse",
        "net/ipv4/ip_local_port_range",
        "kernel/unprivileged_bpf_disabled",
      ].map((name) => [name.replaceAll("/", "."), readOr(`/proc/sys/${name}`).trim()]),
    ),
  };
}

function linesOf(path: string, isWanted: (line: string) => boolean): string[] {
  const text = readOr(path);
  return text.startsWith(notRead) ? [text] : text.split("\n").filter(isWanted);
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    return `${notRead}: ${systemWords(error)}`;
  }
}
