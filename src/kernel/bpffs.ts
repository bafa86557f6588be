// The bpf file system, in which kernel objects get names and so outlive a process.

import { mkdirSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { native } from "../runtime/native.ts";

const mountPoint = "/sys/fs/bpf";
const bpffsMagic = 0xcafe4a11;

/** Makes the directory, and mounts a bpf file system at /sys/fs/bpf where none is. Throws where it cannot be one's part. */
export function makePinsDirectory(path: string): void {
  if (path.includes(".")) {
    throw new Error(`pin BPF objects in ${path}: a bpf file system knows no dots in names; choose another node.pins`);
  }
  if (path.startsWith(`${mountPoint}/`)) native.bpf("mountBpffs", { path: mountPoint });
  if (!isOnBpffs(path)) {
    throw new Error(`pin BPF objects in ${path}: it is on no bpf file system; choose a node.pins below ${mountPoint}`);
  }
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Of the path or, as long as that does not exist, of where it would be made. */
export function isOnBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === bpffsMagic;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || path === "/") throw error;
    return isOnBpffs(dirname(path));
  }
}
