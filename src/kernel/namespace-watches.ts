// Network namespaces by path, as they come and go: told when there is one, when there is another one, when there is none.
//
//   absent ── appeared ──> there ── gone ──> absent          A path that leads to another namespace now: gone, appeared.
//
// By inotify where that can tell; every path is looked at once a second as well, since it cannot tell of mounts (`ip netns
// add` makes a file first) nor of /proc.

import { statfsSync, statSync } from "node:fs";
import type { PathWatches } from "./path-watches.ts";

export interface NamespaceHandler {
  appeared(): Promise<void>;
  gone(): Promise<void>;
}

interface Watched {
  readonly path: string;
  /** Without it nothing counts as there. */
  readonly cgroup: string | undefined;
  readonly handler: NamespaceHandler;
  readonly watches: readonly Disposable[];
  /** What `handler` was told of last; undefined: none is there. */
  inode: bigint | undefined;
  /** What it does about it; one thing after another. */
  work: Promise<void>;
}

const lookAgainMs = 1_000;
/** A file that is no namespace may become one at once (`ip netns add`). Doubled each time, as far as `lookAgainMs`. */
const firstRetryMs = 5;

export class NamespaceWatches implements Disposable {
  readonly #paths: PathWatches;
  readonly #watched: Set<Watched>;
  readonly #retries: Set<NodeJS.Timeout>;
  readonly #timer: NodeJS.Timeout;

  constructor(paths: PathWatches) {
    this.#paths = paths;
    this.#watched = new Set();
    this.#retries = new Set();
    this.#timer = setInterval(() => this.look(), lookAgainMs).unref();
  }

  /**
   * `settled` resolves when what is there now is dealt with. `run` does something between what the handler does. `remove`
   * forgets it without a further word. `cgroup`: the namespace counts as gone when this directory is.
   */
  add(
    path: string,
    handler: NamespaceHandler,
    cgroup?: string,
  ): { readonly settled: Promise<void>; run(work: () => Promise<void>): Promise<void>; remove(): Promise<void> } {
    const places = cgroup === undefined ? [path] : [path, cgroup];
    const watched: Watched = {
      path,
      cgroup,
      handler,
      watches: places.map((place) => this.#paths.watch(place, () => this.#look(watched, firstRetryMs))),
      inode: undefined,
      work: Promise.resolve(),
    };
    this.#watched.add(watched);
    this.#look(watched, firstRetryMs);
    const remove = () => {
      this.#watched.delete(watched);
      for (const watch of watched.watches) watch[Symbol.dispose]();
      return watched.work;
    };
    const run = (work: () => Promise<void>) => {
      watched.work = watched.work.then(work);
      return watched.work;
    };
    return { settled: watched.work, run, remove };
  }

  /** Inode numbers of those that are there. */
  get inodes(): ReadonlySet<bigint> {
    return new Set([...this.#watched].flatMap(({ inode }) => inode ?? []));
  }

  /** Looks at all of them now. */
  look(): void {
    for (const watched of this.#watched) this.#look(watched, lookAgainMs);
  }

  /** Looks now at those that were not there. */
  lookForAbsent(): void {
    for (const watched of this.#watched) if (watched.inode === undefined) this.#look(watched, lookAgainMs);
  }

  #look(watched: Watched, retryMs: number): void {
    if (!this.#watched.has(watched)) return;
    const { path, cgroup, handler, inode: before } = watched;
    const isExpected = cgroup === undefined || inodeAt(cgroup) !== undefined;
    const found = isExpected ? inodeAt(path) : undefined;
    if (found === before) return;
    const now = found === undefined || isNamespace(path) ? found : undefined;
    if (now !== found && retryMs < lookAgainMs) this.#lookSoon(watched, retryMs);
    if (now === before) return;
    watched.inode = now;
    watched.work = watched.work.then(async () => {
      if (before !== undefined) await handler.gone();
      if (now !== undefined) await handler.appeared();
    });
  }

  #lookSoon(watched: Watched, retryMs: number): void {
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.#look(watched, retryMs * 2);
    }, retryMs);
    this.#retries.add(timer);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const timer of this.#retries) clearTimeout(timer);
    for (const { watches } of this.#watched) for (const watch of watches) watch[Symbol.dispose]();
    this.#watched.clear();
  }
}

const nsfsMagic = 0x6e736673;

function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === nsfsMagic;
  } catch {
    return false; // Gone meanwhile.
  }
}

/** undefined: nothing is there. */
export function inodeAt(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
  } catch {
    return undefined; // A process that is ending, of another user, or a directory that is none.
  }
}
