// The cgroup v2 hierarchy: where it is mounted, and how this process gets a cgroup of its own, by which the kernel tells
// the proxy's sockets from everyone else's.

import { mkdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

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
 * that count as the proxy's. `leave` moves it back where it was, and removes what was created here.
 */
export function enterProxyCgroup(path: string): { leave(): void } {
  const before = join(findCgroupRoot(), ownCgroup());
  let topmostCreated: string | undefined;
  try {
    topmostCreated = mkdirSync(path, { recursive: true });
    if (statfsSync(path).type !== cgroup2Magic) throw new Error(`${path} is not on a cgroup2 file system`);
    moveInto(path);
  } catch (cause) {
    removeEmpty(path, topmostCreated);
    throw new Error(
      `enter cgroup ${path}: ${(cause as Error).message}; it must lie below ${findCgroupRoot()}, and needs root`,
      {
        cause,
      },
    );
  }
  return {
    leave() {
      moveInto(before);
      removeEmpty(path, topmostCreated);
    },
  };
}

/** CGROUP2_SUPER_MAGIC of linux/magic.h */
export const cgroup2Magic = 0x63677270;

function ownCgroup(): string {
  const line = readFileSync("/proc/self/cgroup", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith("0::"));
  return line?.slice(3) ?? "/";
}

function moveInto(directory: string): void {
  writeFileSync(join(directory, "cgroup.procs"), String(process.pid), { flag: "r+" });
}

/** From `path` up to `topmost`, as far as nobody else lives there by now (the next version, during an upgrade). */
function removeEmpty(path: string, topmost: string | undefined): void {
  if (topmost === undefined) return;
  try {
    for (let directory = path; directory.startsWith(topmost); directory = dirname(directory)) rmdirSync(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EBUSY" && code !== "ENOTEMPTY" && code !== "ENOENT") throw error;
  }
}
