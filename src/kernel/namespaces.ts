// Network namespaces of this machine by their cookie, found where anything holds them: by a process or by a name.

import { existsSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Fd, type NetnsCookie, native } from "../runtime/native.ts";
import { closeFd } from "./bpf-map.ts";

/** Calls `use` for those that are found, with a descriptor that is closed afterwards. Before 5.14 none is: there are no cookies to read. */
export function forNamespaces(cookies: ReadonlySet<NetnsCookie>, use: (netns: Fd) => void): void {
  if (cookies.size === 0) return;
  for (const path of namespacePaths()) {
    const opened = open(path);
    if (opened === undefined) continue;
    try {
      if (opened.cookie !== undefined && cookies.has(opened.cookie)) use(opened.netns);
    } finally {
      closeFd(opened.netns);
    }
  }
}

/** One path for each namespace. */
function namespacePaths(): Iterable<string> {
  const paths = new Map<string, string>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const path = `/proc/${entry}/ns/net`;
    try {
      paths.set(readlinkSync(path), path);
    } catch {
      // Gone meanwhile.
    }
  }
  const named = "/run/netns";
  for (const name of existsSync(named) ? readdirSync(named) : []) {
    const path = join(named, name);
    paths.set(`net:[${statSync(path).ino}]`, path);
  }
  return paths.values();
}

function open(path: string): { netns: Fd; cookie: NetnsCookie | undefined } | undefined {
  try {
    return native.netns("open", { path });
  } catch {
    return undefined; // Gone meanwhile, or a name without a namespace.
  }
}
