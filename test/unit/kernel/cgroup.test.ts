import assert from "node:assert/strict";
import { test } from "node:test";
import { findCgroupRoot } from "../../../src/kernel/cgroup.ts";

test("the cgroup v2 mount is found, alone, in a hybrid hierarchy, and with a blank in its path", () => {
  assert.equal(findCgroupRoot("proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), "/sys/fs/cgroup");
  const hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
  assert.equal(findCgroupRoot(hybrid), "/sys/fs/cgroup/unified");
  assert.equal(findCgroupRoot("none /mnt/a\\040b\\134c cgroup2 rw 0 0\n"), "/mnt/a b\\c");
});

test("without one the error says how to get one", () => {
  const v1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /not/one tmpfs rw 0 0\n";
  assert.throws(() => findCgroupRoot(v1), /none is mounted; .*mount -t cgroup2 none/);
});
