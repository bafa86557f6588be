// The oldest kernel that Culvert supports, emulated: what every run of the tests can afford. `npm run test:kernels` runs
// all capture tests, on newer kernels too.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { type Kernel, provideKernel } from "./kernel-package.ts";
import { consolePath, runKernels } from "./kernel-run.ts";
import { isTrueOf, type Report, reportsOf } from "./report.ts";
import { cannotEmulate, lastWords } from "./virtual-machine.ts";

const { kernel, hindrance } = await findKernel();

async function findKernel(): Promise<{ kernel?: Kernel; hindrance?: string }> {
  const reason = cannotEmulate();
  if (reason !== undefined) return { hindrance: reason };
  try {
    return { kernel: await provideKernel("5.10") };
  } catch (error) {
    return { hindrance: `no kernel to boot: ${(error as Error).message.split("\n").slice(0, 3).join("; ")}` };
  }
}

describe("on Linux 5.10", { skip: hindrance ?? false }, () => {
  let reports: Report[] = [];

  before(
    async () => {
      const all = await runKernels([kernel!], { extent: "quick", timeoutMs: 200_000 });
      reports = all.get(kernel!)!;
    },
    { timeout: 230_000 },
  );

  test("every BPF object loads by itself", () => {
    const objects = reportsOf(reports, "object");
    assert.ok(objects.length >= 5, lastWords(consolePath(kernel!)));
    assert.deepEqual(
      objects.filter(({ error }) => error !== undefined),
      [],
    );
  });

  test("every probe tells the truth about this release", () => {
    const [booted] = reportsOf(reports, "booted");
    assert.match(booted!.release, /^5\.10\./);
    const probes = reportsOf(reports, "probe").map(({ probe }) => probe);
    assert.ok(probes.length > 0, lastWords(consolePath(kernel!)));
    assert.deepEqual(
      probes.filter((probe) => !isTrueOf(booted!.release, probe)),
      [],
    );
    const missing = probes.filter(({ supported }) => !supported).map(({ name }) => name);
    assert.ok(missing.includes("SO_NETNS_COOKIE") && missing.includes("bpf_set_retval in connect hooks"), `${missing}`);
  });

  test("culvert node carries curl to a service and to a pod", () => {
    const tests = reportsOf(reports, "test");
    assert.ok(tests.length > 0, lastWords(consolePath(kernel!)));
    for (const { error, skipped } of tests) assert.deepEqual([error, skipped], [undefined, undefined]);
    assert.equal(reportsOf(reports, "done").length, 1);
  });
});
