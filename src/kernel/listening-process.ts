// Whose a listening port in a pod is, as /proc tells: for messages, so a process that cannot be known is no error. Reads every
// process's descriptors: only where something has failed already.

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** /proc/net/tcp's word for it (include/net/tcp_states.h). */
const listenState = "0A";

/** Such as `process 4711 (envoy -c …)`; `inode` is the namespace's. */
export function listenersOn(inode: bigint, port: number): string[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const inside = pids.find((pid) => attempt(() => statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino) === inode);
  if (inside === undefined) return [];
  const sockets = new Set(["tcp", "tcp6"].flatMap((table) => listeningSockets(`/proc/${inside}/net/${table}`, port)));
  return pids
    .filter((pid) => openFiles(pid).some((file) => sockets.has(file)))
    .map((pid) => `process ${pid} (${commandOf(pid)})`);
}

/** As their descriptors' links read. */
function listeningSockets(table: string, port: number): string[] {
  const lines = (attempt(() => readFileSync(table, "utf8")) ?? "").trim().split("\n").slice(1);
  return lines.flatMap((line) => {
    const [, local, , state, , , , , , socket] = line.trim().split(/\s+/);
    const isIt = state === listenState && Number.parseInt(local!.split(":")[1]!, 16) === port;
    return isIt ? `socket:[${socket}]` : [];
  });
}

function openFiles(pid: string): string[] {
  const fds = attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return fds.flatMap((fd) => attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? []);
}

function commandOf(pid: string): string {
  const command = (attempt(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "").split("\0").join(" ").trim();
  return command.length > 100 ? `${command.slice(0, 99)}…` : command;
}

/** Processes come and go while they are looked at. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
