// By inotify alone: nothing here looks from time to time.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { PathWatches } from "../../../src/kernel/path-watches.ts";

/** Calls of a watch's listener, to be waited for. */
class Calls {
  #count = 0;
  #wake: () => void = () => {};
  readonly listener = (): void => {
    this.#count++;
    this.#wake();
  };

  /** Resolves when there was one since `change`; returns how many. */
  async after(change: () => void): Promise<number> {
    const before = this.#count;
    change();
    if (this.#count === before) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      // Watches do not keep a process alive.
      const timer = setTimeout(() => assert.fail("no call within 10 s"), 10_000);
      await promise;
      clearTimeout(timer);
    }
    return this.#count - before;
  }
}

function withDirectory(run: (directory: string, watches: PathWatches) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), "culvert-path-watches-"));
    using watches = new PathWatches((error) => assert.fail(error));
    try {
      await run(directory, watches);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

test(
  "a path is told when it comes and when it goes, a symbolic link too",
  withDirectory(async (directory, watches) => {
    const calls = new Calls();
    const path = join(directory, "it");
    watches.watch(path, calls.listener);
    for (let round = 0; round < 3; round++) {
      await calls.after(() => symlinkSync("/nowhere", path));
      await calls.after(() => unlinkSync(path));
    }
  }),
);

test(
  "a path whose directories are made later, removed and made again is told each time",
  withDirectory(async (directory, watches) => {
    const calls = new Calls();
    const path = join(directory, "a/b/it");
    watches.watch(path, calls.listener);
    for (let round = 0; round < 3; round++) {
      await calls.after(() => mkdirSync(join(directory, "a/b"), { recursive: true }));
      await calls.after(() => mkdirSync(path));
      await calls.after(() => rmdirSync(path));
      await calls.after(() => rmSync(join(directory, "a"), { recursive: true }));
    }
  }),
);

test(
  "who has stopped watching is not called, others of the same directory are",
  withDirectory(async (directory, watches) => {
    const [first, second] = [new Calls(), new Calls()];
    let wasCalled = false;
    const watch = watches.watch(join(directory, "one"), () => {
      wasCalled = true;
    });
    watches.watch(join(directory, "two"), second.listener);
    watches.watch(join(directory, "one"), first.listener);
    watch[Symbol.dispose]();
    await first.after(() => mkdirSync(join(directory, "one")));
    await second.after(() => mkdirSync(join(directory, "two")));
    assert.equal(wasCalled, false);
  }),
);
