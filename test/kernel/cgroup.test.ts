import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { enterProxyCgroup, findCgroupRoot } from "../../src/kernel/cgroup.ts";
import { cannotRun } from "./lab/lab.ts";

const skip = cannotRun();
const ownCgroup = () => readFileSync("/proc/self/cgroup", "utf8").match(/^0::(.*)$/m)?.[1];
const unique = `culvert-cgroup-test-${process.pid}`;

test("a process enters a cgroup that is made for it, and leaving removes it again, parents too", { skip }, () => {
  const top = join(findCgroupRoot(), unique);
  const before = ownCgroup();
  try {
    const membership = enterProxyCgroup(join(top, "a/b"));
    assert.equal(ownCgroup(), `/${unique}/a/b`);
    membership.leave();
    assert.equal(ownCgroup(), before);
    assert.equal(existsSync(top), false);
  } finally {
    for (const path of ["a/b", "a", ""].map((name) => join(top, name))) if (existsSync(path)) rmdirSync(path);
  }
});

test("a cgroup that was there stays there", { skip }, () => {
  const path = join(findCgroupRoot(), unique);
  mkdirSync(path);
  try {
    enterProxyCgroup(path).leave();
    assert.ok(existsSync(path));
  } finally {
    rmdirSync(path);
  }
});

test("a directory that is no cgroup is refused, and nothing is left in it", { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), "culvert-cgroup-"));
  assert.throws(
    () => enterProxyCgroup(join(directory, "x/y")),
    /enter cgroup .*not on a cgroup2 file system; it must lie/,
  );
  assert.deepEqual(readdirSync(directory), []);
  rmdirSync(directory);
});
