// Removing a cgroup as an init system does: when the kernel says that its last process has left.

import { readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { patienceMs } from "./journal.ts";

export async function removeCgroup(path: string): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (/^populated 1$/m.test(readFileSync(join(path, "cgroup.events"), "utf8")) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  rmdirSync(path);
}
