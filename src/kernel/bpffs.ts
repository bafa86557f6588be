// The bpf file system, in which kernel objects get names and so outlive a process.

import { mkdirSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { native } from "../runtime/native.ts";

const mountPoint = "/sys/fs/bpf";
const bpffsMagic = 0xcafe4a11;

/** Makes the directory, and mounts a bpf file system at /sys/fs/bpf where none is. Throws where it cannot be one's part. */
export function makePinsDirectory(path: string): void {
  if (isBelowMountPoint(path)) native.bpf("mountBpffs", { path: mountPoint });
  const problem = pinsProblem(path);
  if (problem !== undefined) throw new Error(`pin BPF objects in ${path}: ${problem.what}; ${problem.fix}`);
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Why `makePinsDirectory` would refuse the path. Below /sys/fs/bpf it is no fault that nothing is mounted there yet. */
export function pinsProblem(path: string): { readonly what: string; readonly fix: string } | undefined {
  if (path.includes(".")) {
    return { what: "a bpf file system knows no dots in names", fix: "choose another node.pins" };
  }
  if (isOnBpffs(path) || (isBelowMountPoint(path) && !isOnBpffs(mountPoint))) return undefined;
  return { what: "it is on no bpf file system", fix: `choose a node.pins below ${mountPoint}` };
}

function isBelowMountPoint(path: string): boolean {
  return path.startsWith(`${mountPoint}/`);
}

/** Of the path or, as long as that does not exist, of where it would be made. */
export function isOnBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === bpffsMagic;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if ((code !== "ENOENT" && code !== "ENOTDIR") || path === "/") throw error;
    return isOnBpffs(dirname(path));
  }
}
