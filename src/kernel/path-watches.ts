// Tells when something appears at a path or goes from it, by inotify on the path's directories, of which any may not be
// there yet, or go and come again. What inotify cannot tell (mounts, /proc) it does not: look from time to time as well.

import { type FSWatcher, watch } from "node:fs";
import { basename, dirname, join } from "node:path";

type Listener = () => void;

interface Directory {
  watcher: FSWatcher | undefined;
  readonly names: Map<string, Set<Listener>>;
}

export class PathWatches implements Disposable {
  readonly #directories: Map<string, Directory>;
  readonly #onTrouble: (error: Error) => void;
  #isInTrouble: boolean;

  /** `onTrouble` is called once, when directories cannot be watched although they are there (ENOSPC: too many are). */
  constructor(onTrouble: (error: Error) => void) {
    this.#directories = new Map();
    this.#onTrouble = onTrouble;
    this.#isInTrouble = false;
  }

  /** `listener` is called after every change, and sometimes without one. */
  watch(path: string, listener: Listener): Disposable {
    const places = path.startsWith("/proc/") ? [] : placesOf(path);
    for (const { directory, name } of places) {
      const entry = this.#directory(directory);
      let listeners = entry.names.get(name);
      if (listeners === undefined) {
        listeners = new Set();
        entry.names.set(name, listeners);
      }
      listeners.add(listener);
    }
    return {
      [Symbol.dispose]: () => {
        for (const { directory, name } of places) this.#forget(directory, name, listener);
      },
    };
  }

  #directory(path: string): Directory {
    let entry = this.#directories.get(path);
    if (entry === undefined) {
      entry = { watcher: undefined, names: new Map() };
      this.#directories.set(path, entry);
      this.#open(path, entry);
    }
    return entry;
  }

  #open(path: string, entry: Directory): void {
    entry.watcher?.close();
    entry.watcher = undefined;
    try {
      const watcher = watch(path, { persistent: false }, (_, name) => this.#changed(path, entry, name));
      watcher.on("error", () => watcher.close());
      entry.watcher = watcher;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" && code !== "ENOTDIR" && !this.#isInTrouble) {
        this.#isInTrouble = true;
        this.#onTrouble(error as Error);
      }
    }
  }

  #changed(path: string, entry: Directory, name: string | null): void {
    const listeners = name === null ? undefined : entry.names.get(name);
    if (listeners === undefined) return;
    // What is below may have been made again since: the watches of before are of directories that are gone.
    const changed = join(path, name!);
    for (const [below, directory] of this.#directories) {
      if (below === changed || below.startsWith(`${changed}/`)) this.#open(below, directory);
    }
    for (const listener of [...listeners]) listener();
  }

  #forget(path: string, name: string, listener: Listener): void {
    const entry = this.#directories.get(path);
    const listeners = entry?.names.get(name);
    if (entry === undefined || listeners === undefined) return;
    listeners.delete(listener);
    if (listeners.size === 0) entry.names.delete(name);
    if (entry.names.size > 0) return;
    entry.watcher?.close();
    this.#directories.delete(path);
  }

  [Symbol.dispose](): void {
    for (const { watcher } of this.#directories.values()) watcher?.close();
    this.#directories.clear();
  }
}

/** Each directory of a path, the nearest first, with the name in it that leads there. */
function placesOf(path: string): { directory: string; name: string }[] {
  const places: { directory: string; name: string }[] = [];
  for (let at = path; at !== "/"; at = dirname(at)) places.push({ directory: dirname(at), name: basename(at) });
  return places;
}
