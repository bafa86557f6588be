// The probes against a real kernel. On the kernels of test/vm their answers are compared with those kernels' releases.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { probeKernel, requireFeatures } from "../../src/kernel/probes.ts";
import { cannotRun } from "./lab/lab.ts";

const skip = cannotRun();

test("a kernel on which the capture tests run has all that nothing can replace", { skip }, () => {
  requireFeatures(probeKernel());
});

test("probing leaves no descriptor behind and answers the same again", { skip }, () => {
  const first = probeKernel();
  const descriptors = readdirSync("/proc/self/fd").length;
  const second = probeKernel();
  assert.equal(readdirSync("/proc/self/fd").length, descriptors);
  assert.deepEqual(second, first);
});

test("a process without the right to try is told which capabilities it needs", { skip }, async () => {
  const script = `
    const { probeKernel } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/kernel/probes.ts"))});
    try { probeKernel(); } catch (error) { console.log(error.message); }`;
  const withoutRights = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"];
  const { stdout } = await promisify(execFile)("setpriv", [...withoutRights, process.execPath, "-e", script]);
  assert.match(stdout, /^probe the kernel for sk_lookup: operation not permitted; needs CAP_BPF and CAP_NET_ADMIN/);
});
