// Tells when a file's content may have changed: written in place, replaced by a rename, or reached over a symbolic link that
// now leads elsewhere (as Kubernetes swaps ..data of a ConfigMap). Watches the directories on the way rather than the file, of
// which a rename leaves only the old one watched. Tells when nothing has changed for a while, so that a file that is being
// written is not read half; file systems that tell nothing are looked at now and then.

import { type FSWatcher, lstatSync, readlinkSync, statSync, watch } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";

const settleMs = 100;
const pollMs = 5_000;
/** As the kernel's (MAXSYMLINKS). */
const maxLinks = 40;

export class FileWatch implements Disposable {
  readonly #path: string;
  readonly #onChange: () => void;
  readonly #poll: NodeJS.Timeout;
  #watchers: readonly FSWatcher[];
  #settling: NodeJS.Timeout | undefined;
  #seen: string;
  #told: string;

  /** `onChange` is called once soon, for what changed before the watch. */
  constructor(path: string, onChange: () => void, { pollEveryMs = pollMs } = {}) {
    this.#path = resolve(path);
    this.#onChange = onChange;
    this.#watchers = [];
    this.#settling = undefined;
    this.#seen = "";
    this.#told = "";
    this.#poll = setInterval(() => this.#look(), pollEveryMs).unref();
    this.#watch();
    this.#look();
  }

  #watch(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = directoriesOn(this.#path).flatMap((directory) => {
      try {
        const watcher = watch(directory, { persistent: false }, () => this.#look());
        watcher.on("error", () => watcher.close());
        return [watcher];
      } catch {
        return []; // Gone, or no watches are left: there is the poll.
      }
    });
  }

  #look(): void {
    const now = signatureOf(this.#path);
    if (now === this.#seen) return;
    this.#seen = now;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#settle(), settleMs).unref();
  }

  #settle(): void {
    this.#settling = undefined;
    this.#look();
    if (this.#settling !== undefined || this.#seen === this.#told) return;
    this.#told = this.#seen;
    this.#watch();
    this.#onChange();
    this.#look(); // What changed before the new watches were there.
  }

  [Symbol.dispose](): void {
    clearInterval(this.#poll);
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers) watcher.close();
  }
}

/** Changes with the file's content, or with the file that the path leads to. */
function signatureOf(path: string): string {
  try {
    const stat = statSync(path, { bigint: true });
    return `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "none"; // Gone, a circle of links, …: whoever reads it is told.
  }
}

/** Those that hold the file or a symbolic link on the way to it. */
export function directoriesOn(path: string): string[] {
  const directories = new Set<string>();
  let parts = resolve(path).split(sep).slice(1);
  let at: string = sep;
  let links = 0;
  while (parts.length > 0) {
    const [part, ...rest] = parts;
    const next = join(at, part!);
    const stat = lookAt(next);
    if (stat === undefined || rest.length === 0 || stat.target !== undefined) directories.add(at);
    if (stat === undefined) break;
    parts = rest;
    if (stat.target === undefined) {
      at = next;
      continue;
    }
    if (++links > maxLinks) break;
    const target = resolve(dirname(next), stat.target);
    parts = [...target.split(sep).slice(1), ...rest];
    at = sep;
  }
  return [...directories];
}

/** Undefined: nothing is there, or nothing that can be looked at. `target`: of a symbolic link. */
function lookAt(path: string): { target: string | undefined } | undefined {
  try {
    return { target: lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined };
  } catch {
    return undefined;
  }
}
