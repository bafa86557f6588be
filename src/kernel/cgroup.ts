// The cgroup v2 hierarchy: where it is mounted, and how this process gets a cgroup of its own, by which the kernel tells
// the proxy's sockets from everyone else's.

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The mount point of a cgroup2 file system; hybrid hierarchies are fine. Throws when there is none. */
export function findCgroupRoot(mounts = readFileSync("/proc/self/mounts", "utf8")): string {
  for (const line of mounts.split("\n")) {
    const [, path, type] = line.split(" ");
    if (type === "cgroup2" && path !== undefined) return unescapeMountPath(path);
  }
  throw new Error(
    "find a cgroup v2 hierarchy: none is mounted; boot with systemd.unified_cgroup_hierarchy=1, or mount one: " +
      "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
  );
}

/** /proc/self/mounts writes space, tab, newline and backslash in octal. */
function unescapeMountPath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/**
 * Moves this process into the cgroup directory `path`, which is created if missing. Only sockets that are created after
 * that count as the proxy's. `leave` moves it back where it was, and removes the directory if it was created here.
 */
export function enterProxyCgroup(path: string): { leave(): void } {
  const before = join(findCgroupRoot(), ownCgroup());
  const isCreated = mkdirSync(path, { recursive: true }) !== undefined;
  try {
    moveInto(path);
  } catch (error) {
    if (isCreated) rmdirSync(path);
    throw new Error(`enter cgroup ${path}: is it a directory below a cgroup2 mount, and is this process root?`, {
      cause: error,
    });
  }
  return {
    leave() {
      moveInto(before);
      if (isCreated) removeIfEmpty(path);
    },
  };
}

function ownCgroup(): string {
  const line = readFileSync("/proc/self/cgroup", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith("0::"));
  return line?.slice(3) ?? "/";
}

function moveInto(directory: string): void {
  writeFileSync(join(directory, "cgroup.procs"), String(process.pid));
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    // Another process of the same node (the next version, during an upgrade) may live there by now.
    if ((error as NodeJS.ErrnoException).code !== "EBUSY" && (error as NodeJS.ErrnoException).code !== "ENOENT")
      throw error;
  }
}
