// Two Culverts that capture the same pods would take each other's connections. So each holds a lock on its directory of
// pins and on its pods' cgroup. The kernel lets go of it when the process ends in whatever way: a dead one never blocks.

import { readFileSync, readlinkSync, statSync } from "node:fs";
import { type Fd, native } from "../runtime/native.ts";
import { culvertError } from "../telemetry/errors.ts";
import { closeFd } from "./bpf-map.ts";

/** All of the directories, or none: then INSTANCE_RUNNING, which says who holds one. */
export function lockInstance(directories: readonly string[]): Disposable {
  const locks: Fd[] = [];
  const release = () => {
    for (const lock of locks.splice(0)) closeFd(lock);
  };
  for (const directory of directories) {
    const { lock } = native.bpf("lock", { path: directory });
    if (lock === undefined) {
      release();
      throw culvertError("INSTANCE_RUNNING", { directory, holder: describeHolder(directory) });
    }
    locks.push(lock);
  }
  return { [Symbol.dispose]: release };
}

/** "process 4711 (node … --config /etc/mesh.yaml, in /root)", as far as it can be seen from here. */
function describeHolder(directory: string): string {
  const pid = holderOf(directory);
  if (pid === undefined) return "another process (of another container?)";
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim();
    return `process ${pid} (${command}, in ${readlinkSync(`/proc/${pid}/cwd`)})`;
  } catch {
    return `process ${pid}`;
  }
}

/** The process that holds the lock on a directory, if it can be seen from here. `1: FLOCK  ADVISORY  WRITE 4711 00:27:1 0 EOF`: the device in hexadecimal, then the inode. */
export function holderOf(directory: string): number | undefined {
  const { dev, ino } = statSync(directory, { bigint: true });
  for (const line of readFileSync("/proc/locks", "utf8").split("\n")) {
    const [, kind, , , pid, file] = line.split(/\s+/);
    if (kind !== "FLOCK" || file === undefined) continue;
    const [major, minor, inode] = file.split(":");
    const device = (BigInt(`0x${major}`) << 8n) | BigInt(`0x${minor}`);
    if (device === dev && BigInt(inode!) === ino) return Number(pid);
  }
  return undefined;
}
