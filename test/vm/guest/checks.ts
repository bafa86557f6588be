// What runs in a guest: objects, probes, then tests. Reports on standard output, a JSON line each.

import { globSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { run } from "node:test";
import { loadObjects, probes } from "../capabilities.ts";
import type { Extent, Report } from "../report.ts";

/** Compiles BPF objects of its own, and guests have no compiler. */
const needsCompiler = ["test/kernel/native-bpf.test.ts"];
const kernelTests = globSync("test/kernel/*.test.*").filter((file) => !needsCompiler.includes(file));

const files: Record<Extent, readonly string[]> = {
  quick: ["test/vm/guest/curl.test.ts"],
  full: [...kernelTests.sort(), "test/vm/guest/curl.test.ts"],
};

function tell(report: Report): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

async function runTests(file: string): Promise<void> {
  const events = run({ files: [file], isolation: "none", timeout: 300_000 });
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const { name: title, details, skip } = data;
    const failure =
      type === "test:fail" ? (details as { error: { cause?: unknown; message: string } }).error : undefined;
    // A suite fails with its tests; by itself only if what it prepares for them does.
    if (details.type === "suite" && !/hook/i.test(failure?.message ?? "")) continue;
    const error = failure && String((failure.cause as Error | undefined)?.stack ?? failure.message);
    const skipped = typeof skip === "string" ? skip : undefined;
    tell({ kind: "test", title, seconds: details.duration_ms / 1000, error, skipped });
  }
}

tell({ kind: "booted", release: release() });
for (const report of [...loadObjects(), ...probes()]) tell(report);
const extent = /culvert\.extent=(\w+)/.exec(readFileSync("/proc/cmdline", "utf8"))?.[1] as Extent;
for (const file of files[extent]) await runTests(file);
tell({ kind: "done" });
