// What a bug report should say of the machine: the kernel, its cgroups and bpf file systems, memory and processors.

import { readFileSync } from "node:fs";
import { arch, availableParallelism, freemem, loadavg, release, totalmem, uptime, version } from "node:os";

const mountTypes = ["cgroup", "cgroup2", "bpf"];

export function machineFacts(): Record<string, unknown> {
  return {
    kernel: { release: release(), version: version(), arch: arch() },
    distribution: readOr("/etc/os-release")
      .split("\n")
      .filter((line) => line.startsWith("PRETTY_NAME=")),
    processors: availableParallelism(),
    memoryBytes: { total: totalmem(), free: freemem() },
    load: loadavg(),
    uptimeSeconds: uptime(),
    node: process.version,
    mounts: readOr("/proc/self/mounts")
      .split("\n")
      .filter((line) => mountTypes.includes(line.split(" ")[2] ?? "")),
    limits: readOr("/proc/self/limits")
      .split("\n")
      .filter((line) => /^Max (open files|locked memory)/.test(line)),
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

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    return (error as Error).message;
  }
}
