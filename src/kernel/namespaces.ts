// Network namespaces of this machine by their inode number, found where anything holds them: by a process or by a name.

import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Fd, native } from "../runtime/native.ts";
import { closeFd } from "./bpf-map.ts";

/** Calls `use` for those that are found, with a descriptor that is closed afterwards. */
export function forNamespaces(inodes: ReadonlySet<bigint>, use: (netns: Fd) => void): void {
  const wanted = new Set(inodes);
  for (const path of candidates()) {
    if (wanted.size === 0) return;
    if (!wanted.has(inodeOf(path) ?? 0n)) continue;
    const { netns, inode } = native.netns("open", { path });
    try {
      // Not so when the process ended just now, and another got its number.
      if (wanted.delete(inode)) use(netns);
    } finally {
      closeFd(netns);
    }
  }
}

function* candidates(): Generator<string> {
  for (const entry of readdirSync("/proc")) if (/^\d+$/.test(entry)) yield `/proc/${entry}/ns/net`;
  const named = "/run/netns";
  for (const name of existsSync(named) ? readdirSync(named) : []) yield join(named, name);
}

function inodeOf(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).ino;
  } catch {
    return undefined; // Gone meanwhile.
  }
}
