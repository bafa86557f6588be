// The cgroups below one, as they come and go, and processes as they come into them: a cgroup is noticed before a process
// can run in it, by inotify on each directory. `cgroup.procs` is written to move a process; `cgroup.events` changes when a
// cgroup gets its first process or loses its last, also where a process was started into it (kernfs_notify).

import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { join } from "node:path";

/** A burst of changes is told once. */
const gatherMs = 20;

export class CgroupWatch implements Disposable {
  readonly #watchers: Map<string, FSWatcher>;
  readonly #onChanged: (cgroups: ReadonlySet<string>) => void;
  readonly #onTrouble: (error: Error) => void;
  readonly #changed: Set<string>;
  #timer: NodeJS.Timeout | undefined;
  #isInTrouble: boolean;

  /**
   * `onChanged` gets the directories that came, went or got processes; soon after the start all that are there.
   * `onTrouble` is called once, when directories cannot be watched (ENOSPC: too many are).
   */
  constructor(root: string, onChanged: (cgroups: ReadonlySet<string>) => void, onTrouble: (error: Error) => void) {
    this.#watchers = new Map();
    this.#onChanged = onChanged;
    this.#onTrouble = onTrouble;
    this.#changed = new Set();
    this.#isInTrouble = false;
    this.#add(root);
  }

  #add(cgroup: string): void {
    this.#watchers.get(cgroup)?.close();
    this.#watchers.delete(cgroup);
    try {
      const watcher = watch(cgroup, { persistent: false }, (event, name) => this.#happened(cgroup, event, name));
      watcher.on("error", () => watcher.close());
      this.#watchers.set(cgroup, watcher);
      // After the watch: what is made from here on is told, what was made before is listed.
      for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
        if (entry.isDirectory()) this.#add(join(cgroup, entry.name));
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" && code !== "ENODEV" && !this.#isInTrouble) {
        this.#isInTrouble = true;
        this.#onTrouble(error as Error);
      }
    }
    this.#tell(cgroup);
  }

  #happened(cgroup: string, event: string, name: string | null): void {
    if (name === null) return;
    if (event === "change") {
      if (name === "cgroup.procs" || name === "cgroup.events") this.#tell(cgroup);
      return;
    }
    const child = join(cgroup, name);
    const found = statSync(child, { throwIfNoEntry: false });
    if (found === undefined) this.#remove(child);
    else if (found.isDirectory()) this.#add(child);
  }

  #remove(cgroup: string): void {
    for (const [path, watcher] of this.#watchers) {
      if (path !== cgroup && !path.startsWith(`${cgroup}/`)) continue;
      watcher.close();
      this.#watchers.delete(path);
      this.#tell(path);
    }
  }

  #tell(cgroup: string): void {
    this.#changed.add(cgroup);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const changed = new Set(this.#changed);
      this.#changed.clear();
      this.#onChanged(changed);
    }, gatherMs).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }
}
