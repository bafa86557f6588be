// The processes of this machine as far as /proc shows them: which network namespace and which cgroup each is in, and
// which ports are listened on and which addresses are configured there.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { formatAddress, type IpAddress } from "../mesh/address.ts";

interface Inhabitant {
  readonly pid: number;
  /** Below the root of cgroup v2. */
  readonly cgroup: string;
}

/** By the inode number of the namespace. */
export type NetnsProcesses = ReadonlyMap<bigint, readonly Inhabitant[]>;

export function processesByNetns(): NetnsProcesses {
  const found = new Map<bigint, Inhabitant[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const inode = statSync(`/proc/${entry}/ns/net`, { bigint: true }).ino;
      const line = readFileSync(`/proc/${entry}/cgroup`, "utf8")
        .split("\n")
        .find((it) => it.startsWith("0::"));
      const inhabitant = { pid: Number(entry), cgroup: line?.slice(3) ?? "/" };
      found.set(inode, [...(found.get(inode) ?? []), inhabitant]);
    } catch {
      // It ended meanwhile, or is another user's.
    }
  }
  return found;
}

/** TCP ports with a listener. `net`: `/proc/<pid>/net`, of the namespace that the process is in. */
export function listeningPorts(net: string): Set<number> {
  const ports = new Set<number>();
  for (const table of ["tcp", "tcp6"]) {
    for (const line of (textOf(`${net}/${table}`) ?? "").trim().split("\n").slice(1)) {
      const [, local, , state] = line.trim().split(/\s+/);
      if (state === "0A") ports.add(Number.parseInt(local!.split(":")[1]!, 16)); // TCP_LISTEN
    }
  }
  return ports;
}

/** Paths of the namespace that has this address as its own, one by each process in it: any of these may end meanwhile. */
export function namespaceWith(address: IpAddress): string[] {
  for (const inhabitants of processesByNetns().values()) {
    // The first that can be asked knows.
    const has = inhabitants
      .values()
      .map(({ pid }) => hasAddress(pid, address))
      .find((it) => it !== undefined);
    if (has === true) return inhabitants.map(({ pid }) => `/proc/${pid}/ns/net`);
  }
  return [];
}

/** undefined: the process has ended. */
function hasAddress(pid: number, address: IpAddress): boolean | undefined {
  if (address.family === 6) {
    const hex = address.words.map((word) => word.toString(16).padStart(8, "0")).join("");
    return textOf(`/proc/${pid}/net/if_inet6`)?.includes(hex);
  }
  return textOf(`/proc/${pid}/net/fib_trie`)
    ?.split(`|-- ${formatAddress(address)}\n`)
    .slice(1)
    .some((after) => /^\s*\/32 host LOCAL/.test(after));
}

/** undefined: no such protocol in that namespace, or the process has ended. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
