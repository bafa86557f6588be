// The addon's `bpf` operations, as src/runtime/native.ts promises them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type BpfReplies, type NativeError, native } from "../../src/runtime/native.ts";
import { cannotRun } from "./lab/lab.ts";

const prologue = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, __u32); __type(value, __u64); } shared SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u32); } counts SEC(".maps");
`;
const good = (name: string) => `${prologue}
SEC("sk_lookup") int ${name}(struct bpf_sk_lookup *ctx) {
  __u32 key = 0;
  return bpf_map_lookup_elem(&shared, &key) && bpf_map_lookup_elem(&counts, &key) ? SK_DROP : SK_PASS;
}`;
const unchecked = `${prologue}
SEC("sk_lookup") int unchecked(struct bpf_sk_lookup *ctx) {
  __u32 key = 0;
  __u64 *value = bpf_map_lookup_elem(&shared, &key);
  return *value ? SK_DROP : SK_PASS;
}`;

describe("native.bpf", { skip: cannotRun() }, () => {
  let directory: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "culvert-bpf-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  function compile(name: string, source: string): string {
    const [file, object] = [join(directory, `${name}.c`), join(directory, `${name}.o`)];
    writeFileSync(file, source);
    const include = `/usr/include/${execFileSync("uname", ["-m"], { encoding: "utf8" }).trim()}-linux-gnu`;
    execFileSync("clang", ["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-I", include, "-c", file, "-o", object]);
    return object;
  }

  function close({ programs, maps }: BpfReplies["load"]): void {
    for (const fd of [...Object.values(programs), ...Object.values(maps).map((map) => map.fd)]) {
      native.netns("close", { fd });
    }
  }

  test("an object that the verifier refuses is told with the verifier's words, and nothing of the load stays", () => {
    const objects = [compile("before", good("before")), compile("unchecked", unchecked)];
    const descriptors = readdirSync("/proc/self/fd").length;
    assert.throws(
      () => native.bpf("load", { objects }),
      (error: NativeError) => {
        assert.match(error.message, /^load BPF object .*unchecked\.o \(.*invalid mem access 'map_value_or_null'/);
        assert.match(error.message, /permission denied; this kernel's verifier refuses a program: please report/);
        assert.doesNotMatch(error.message, /processed \d+ insns/);
        assert.deepEqual([error.errno, error.syscall], ["EACCES", "bpf"]);
        return true;
      },
    );
    assert.equal(readdirSync("/proc/self/fd").length, descriptors);
  });

  test("a missing object file is told", () => {
    assert.throws(
      () => native.bpf("load", { objects: ["/nowhere.o"] }),
      /\/nowhere\.o.*no such file or directory; .*built/,
    );
  });

  test("keys and values are written, read, listed and deleted; per-CPU values come all together", () => {
    const loaded = native.bpf("load", { objects: [compile("maps", good("maps"))] });
    const { shared, counts } = loaded.maps;
    assert.ok(shared !== undefined && counts !== undefined);
    const map = shared.fd;
    const [one, two, value] = [new Uint8Array([1, 0, 0, 0]), new Uint8Array([2, 0, 0, 0]), new Uint8Array(8).fill(7)];
    native.bpf("mapUpdate", { map, key: one, value });
    native.bpf("mapUpdate", { map, key: two, value });
    assert.deepEqual(native.bpf("mapLookup", { map, key: one, valueSize: 8 }).value, value);
    const { keys } = native.bpf("mapKeys", { map, keySize: 4 });
    assert.deepEqual([keys.length, new Set([keys[0], keys[4]])], [8, new Set([1, 2])]);
    native.bpf("mapDelete", { map, key: one });
    native.bpf("mapDelete", { map, key: one });
    assert.equal(native.bpf("mapLookup", { map, key: one, valueSize: 8 }).value, undefined);
    assert.deepEqual(native.bpf("mapKeys", { map, keySize: 4 }).keys, two);

    const [, highest] = readFileSync("/sys/devices/system/cpu/possible", "utf8").trim().split("-");
    assert.equal(counts.valueSize, 8 * (Number(highest ?? 0) + 1));
    close(loaded);
  });

  test("a key or value of another size than the map's is refused before the kernel reads past its end", () => {
    const loaded = native.bpf("load", { objects: [compile("sizes", good("sizes"))] });
    const map = loaded.maps.shared!.fd;
    const key = new Uint8Array(4);
    const short = new Uint8Array(3);
    assert.throws(
      () => native.bpf("mapUpdate", { map, key, value: short }),
      /this value: .*must be a Uint8Array of 8 bytes/,
    );
    assert.throws(() => native.bpf("mapDelete", { map, key: short }), /this key: .*must be a Uint8Array of 4 bytes/);
    assert.throws(() => native.bpf("mapLookup", { map, key, valueSize: 4 }), /its values have 8 bytes/);
    close(loaded);
  });

  test("attaching to what is no cgroup is refused in words", () => {
    const loaded = native.bpf("load", { objects: [compile("attach", good("attach"))] });
    const program = loaded.programs.attach!;
    assert.throws(
      () => native.bpf("attachCgroup", { program, cgroupPath: "/nowhere" }),
      /cgroup \/nowhere: no such file/,
    );
    // A socket is no network namespace.
    const { netns } = native.netns("open", { path: "/proc/self/ns/net" });
    const { fd } = native.netns("socket", { netns, family: 4 });
    assert.throws(
      () => native.bpf("attachNetns", { program, netns: fd }),
      (error: NativeError) => error.errno === "EINVAL",
    );
    for (const each of [netns, fd]) native.netns("close", { fd: each });
    close(loaded);
  });
});
