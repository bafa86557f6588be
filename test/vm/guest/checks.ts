// What runs in a guest: objects, probes, then tests. Reports on standard output, a JSON line each.

import { readFileSync } from "node:fs";
import { release } from "node:os";
import { run } from "node:test";
import { loadObjects, probes } from "../capabilities.ts";
import type { Extent, Report } from "../report.ts";

interface Selection {
  readonly files: string[];
  /** Titles of the tests; all when absent. */
  readonly titles?: RegExp[];
}

const selections: Record<Extent, readonly Selection[]> = {
  quick: [
    {
      files: ["test/kernel/outbound.test.ts"],
      titles: [/over (IPv4|IPv6|v4-mapped) the proxy learns what was dialled/],
    },
    {
      files: ["test/kernel/inbound.test.ts"],
      titles: [/from outside reaches the proxy/, /from another pod's namespace/],
    },
    { files: ["test/vm/guest/curl.test.ts"] },
  ],
  full: [
    { files: ["test/kernel/outbound.test.ts"] },
    { files: ["test/kernel/inbound.test.ts"] },
    { files: ["test/kernel/enrolment.test.ts"] },
    { files: ["test/kernel/cgroup.test.ts", "test/kernel/probes.test.ts"] },
    { files: ["test/vm/guest/curl.test.ts"] },
  ],
};

function tell(report: Report): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

async function runTests({ files, titles }: Selection): Promise<void> {
  const events = run({ files, isolation: "none", timeout: 120_000, ...(titles && { testNamePatterns: titles }) });
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
for (const selection of selections[extent]) await runTests(selection);
tell({ kind: "done" });
