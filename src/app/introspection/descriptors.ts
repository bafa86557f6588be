// How many descriptors this process has open, and how many it may have.

import { readdirSync, readFileSync, statSync } from "node:fs";

export interface Descriptors {
  readonly open: number;
  readonly limit: number;
}

export function countDescriptors(): Descriptors {
  // The directory's size is their number since Linux 6.2, and 0 before.
  const open = statSync("/proc/self/fd").size || readdirSync("/proc/self/fd").length;
  return { open, limit: descriptorLimit("soft") };
}

/** Infinity: unlimited. */
export function descriptorLimit(kind: "soft" | "hard", limits = readFileSync("/proc/self/limits", "utf8")): number {
  const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
  const text = kind === "soft" ? soft : hard;
  return text === "unlimited" || text === undefined ? Number.POSITIVE_INFINITY : Number(text);
}
