import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { directoriesOn, FileWatch } from "../../../src/discovery/file-watch.ts";

const patienceMs = 15_000;
const anHourMs = 3_600_000;

class Fixture implements Disposable {
  readonly directory: string;
  #told = 0;
  #waiting: (() => void) | undefined;
  #watch: FileWatch | undefined;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "culvert-"));
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** Resolves when the watch has told what it found at first. */
  async watch(path: string, pollEveryMs = anHourMs): Promise<void> {
    const onChange = () => {
      this.#told++;
      this.#waiting?.();
    };
    this.#watch = new FileWatch(path, onChange, { pollEveryMs });
    await this.told();
  }

  /** Resolves when a change was told that nobody has waited for. */
  async told(): Promise<void> {
    if (this.#told === 0) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`nothing was told within ${patienceMs} ms`)), patienceMs);
        this.#waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#told = 0;
  }

  get tellings(): number {
    return this.#told;
  }

  [Symbol.dispose](): void {
    this.#watch?.[Symbol.dispose]();
    rmSync(this.directory, { recursive: true });
  }
}

describe("a watched file", () => {
  test("may become a link to itself or lie below what is no directory: that is told, and what comes after it too", async () => {
    using fixture = new Fixture();
    const directory = fixture.path("etc");
    const path = join(directory, "mesh.yaml");
    mkdirSync(directory);
    writeFileSync(path, "one");
    await fixture.watch(path, 20);
    symlinkSync("mesh.yaml", `${path}.new`);
    renameSync(`${path}.new`, path);
    await fixture.told();
    renameSync(directory, fixture.path("old"));
    writeFileSync(directory, "no directory");
    await fixture.told();
    rmSync(directory);
    mkdirSync(directory);
    writeFileSync(path, "two");
    await fixture.told();
  });

  test("is told when it is written in place", async () => {
    using fixture = new Fixture();
    writeFileSync(fixture.path("mesh.yaml"), "a");
    await fixture.watch(fixture.path("mesh.yaml"));
    appendFileSync(fixture.path("mesh.yaml"), "b");
    await fixture.told();
  });

  test("is told each time it is replaced by a rename", async () => {
    using fixture = new Fixture();
    writeFileSync(fixture.path("mesh.yaml"), "a");
    await fixture.watch(fixture.path("mesh.yaml"));
    for (const content of ["b", "c", "d"]) {
      writeFileSync(fixture.path("new"), content);
      renameSync(fixture.path("new"), fixture.path("mesh.yaml"));
      await fixture.told();
    }
  });

  test("is told when a symbolic link on the way is swapped, as Kubernetes does with a ConfigMap, again and again", async () => {
    using fixture = new Fixture();
    const swap = (version: string) => {
      mkdirSync(fixture.path(`..${version}`));
      writeFileSync(fixture.path(`..${version}`, "mesh.yaml"), "same");
      symlinkSync(`..${version}`, fixture.path("..data_tmp"));
      renameSync(fixture.path("..data_tmp"), fixture.path("..data"));
    };
    swap("1");
    symlinkSync("..data/mesh.yaml", fixture.path("mesh.yaml"));
    await fixture.watch(fixture.path("mesh.yaml"));
    for (const version of ["2", "3"]) {
      swap(version);
      await fixture.told();
    }
  });

  test("is told when a directory on the way is a link that is swapped elsewhere", async () => {
    using fixture = new Fixture();
    for (const version of ["1", "2"]) {
      mkdirSync(fixture.path(version));
      writeFileSync(fixture.path(version, "mesh.yaml"), version);
    }
    mkdirSync(fixture.path("etc"));
    mkdirSync(fixture.path("releases"));
    symlinkSync("../1", fixture.path("releases", "current"));
    symlinkSync("../releases/current", fixture.path("etc", "culvert"));
    await fixture.watch(fixture.path("etc", "culvert", "mesh.yaml"));
    symlinkSync("../2", fixture.path("releases", "next"));
    renameSync(fixture.path("releases", "next"), fixture.path("releases", "current"));
    await fixture.told();
  });

  test("is told when it goes and when it comes back", async () => {
    using fixture = new Fixture();
    writeFileSync(fixture.path("mesh.yaml"), "a");
    await fixture.watch(fixture.path("mesh.yaml"));
    rmSync(fixture.path("mesh.yaml"));
    await fixture.told();
    writeFileSync(fixture.path("mesh.yaml"), "a");
    await fixture.told();
  });

  test("is told only when nothing has changed for a while: not while it is being written", async () => {
    using fixture = new Fixture();
    writeFileSync(fixture.path("mesh.yaml"), "");
    await fixture.watch(fixture.path("mesh.yaml"));
    const end = performance.now() + 500;
    let writes = 0;
    // Without a turn of the loop in between nothing could be told at all.
    while (performance.now() < end) {
      appendFileSync(fixture.path("mesh.yaml"), "x");
      writes++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(writes > 1);
    assert.ok(fixture.tellings <= 1, `${fixture.tellings} times`);
    if (fixture.tellings === 0) await fixture.told();
  });
});

test("watched are the directories that hold the file or a link on the way, even when the file is not there", () => {
  using fixture = new Fixture();
  mkdirSync(fixture.path("real"));
  symlinkSync("real", fixture.path("link"));
  const directories = directoriesOn(fixture.path("link", "mesh.yaml"));
  assert.ok(directories.includes(fixture.directory) && directories.includes(fixture.path("real")), String(directories));
  symlinkSync("loop", fixture.path("loop"));
  assert.ok(directoriesOn(fixture.path("loop", "mesh.yaml")).includes(fixture.directory));
});
