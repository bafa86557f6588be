// Namespaces in which processes of the pods' cgroup run and of which nothing is known: neither a workload's nor outside the
// mesh. A new cgroup also says that it is time to look for the pods that are waited for.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CgroupWatch } from "../kernel/cgroup-watch.ts";
import { inodeAt, type NamespaceWatches } from "../kernel/namespace-watches.ts";
import type { Logger } from "../telemetry/log.ts";

/** A process may come into its namespace after its cgroup, and a namespace may become known. */
const lookAgainMs = 1_000;

export class UnknownPods implements Disposable {
  readonly #namespaces: NamespaceWatches;
  readonly #log: Logger;
  readonly #watch: CgroupWatch;
  readonly #timer: NodeJS.Timeout;
  /** The machine's and this process's own. */
  readonly #own: ReadonlySet<bigint>;
  /** By cgroup. */
  readonly #unknown: Map<string, ReadonlySet<bigint>>;
  /** Cgroups to look at again. */
  readonly #recent: Set<string>;
  /** Of those that are there. */
  readonly #logged: Set<bigint>;

  constructor(podsCgroup: string, namespaces: NamespaceWatches, log: Logger) {
    this.#namespaces = namespaces;
    this.#log = log;
    this.#own = new Set(["/proc/self/ns/net", "/proc/1/ns/net"].flatMap((path) => inodeAt(path) ?? []));
    this.#unknown = new Map();
    this.#recent = new Set();
    this.#logged = new Set();
    this.#watch = new CgroupWatch(
      podsCgroup,
      (cgroups) => this.#changed(cgroups),
      (err) => log.warn({ cgroup: podsCgroup, err }, "not all cgroups of pods can be watched; raise fs.inotify limits"),
    );
    this.#timer = setInterval(() => this.#lookAgain(), lookAgainMs).unref();
  }

  /** How many there are now. */
  get count(): number {
    return new Set([...this.#unknown.values()].flatMap((inodes) => [...inodes])).size;
  }

  #changed(cgroups: ReadonlySet<string>): void {
    this.#namespaces.lookForAbsent();
    const known = this.#namespaces.inodes;
    for (const cgroup of cgroups) {
      this.#examine(cgroup, known);
      this.#recent.add(cgroup);
    }
    this.#forgetGone();
  }

  #lookAgain(): void {
    if (this.#recent.size === 0 && this.#unknown.size === 0) return;
    const known = this.#namespaces.inodes;
    for (const cgroup of new Set([...this.#recent, ...this.#unknown.keys()])) this.#examine(cgroup, known);
    this.#recent.clear();
    this.#forgetGone();
    for (const [cgroup, inodes] of this.#unknown) {
      for (const inode of inodes) {
        if (this.#logged.has(inode)) continue;
        this.#logged.add(inode);
        this.#log.warn(
          { cgroup, netns: Number(inode) },
          "processes run in a network namespace that nothing is known of",
        );
      }
    }
  }

  /** Their inode numbers will be others'. */
  #forgetGone(): void {
    const there = new Set([...this.#unknown.values()].flatMap((inodes) => [...inodes]));
    for (const inode of this.#logged) if (!there.has(inode)) this.#logged.delete(inode);
  }

  #examine(cgroup: string, known: ReadonlySet<bigint>): void {
    const found = new Set<bigint>();
    for (const pid of processesOf(cgroup)) {
      const inode = inodeAt(`/proc/${pid}/ns/net`);
      if (inode !== undefined && !known.has(inode) && !this.#own.has(inode)) found.add(inode);
    }
    if (found.size > 0) this.#unknown.set(cgroup, found);
    else this.#unknown.delete(cgroup);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#watch[Symbol.dispose]();
  }
}

function processesOf(cgroup: string): string[] {
  try {
    return readFileSync(join(cgroup, "cgroup.procs"), "utf8")
      .split("\n")
      .filter((pid) => pid !== "");
  } catch {
    return []; // Gone meanwhile.
  }
}
