// Boots Debian's kernels in an emulator and runs there what tells whether Culvert works on them: every BPF object loads,
// the probes tell the truth, the capture tests pass, and the command carries a curl. Prints a table kernel × capability,
// and keeps it in test/vm/results.
//
// Usage: test-kernels.ts [5.10 | 6.1 | 6.12 …] [--quick] [--renew]; --renew asks for newer point releases.

import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { loadObjects, probes } from "../test/vm/capabilities.ts";
import { allSeries, provideKernel } from "../test/vm/kernel-package.ts";
import { consolePath, runKernels } from "../test/vm/kernel-run.ts";
import { problemsOf, type Report } from "../test/vm/report.ts";
import { capabilityTable } from "../test/vm/table.ts";
import { cannotEmulate } from "../test/vm/virtual-machine.ts";

const results = join(import.meta.dirname, "../test/vm/results");
/** The longest takes six minutes with nothing else running. */
const timeoutMs = 1_800_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const options = args.filter((arg) => arg.startsWith("--"));
  const chosen = args.filter((arg) => !arg.startsWith("--"));
  const unknown = [
    ...options.filter((option) => !["--quick", "--renew"].includes(option)),
    ...chosen.filter((series) => !(allSeries as string[]).includes(series)),
  ];
  const hindrance =
    unknown.length > 0
      ? `unknown: ${unknown.join(" ")}; there are ${allSeries.join(", ")}, --quick and --renew`
      : cannotEmulate();
  if (hindrance !== undefined) {
    console.error(`test-kernels: ${hindrance}`);
    return 1;
  }
  const series = allSeries.filter((each) => chosen.length === 0 || chosen.includes(each));
  const renew = options.includes("--renew");
  const kernels = await Promise.all(series.map((each) => provideKernel(each, { renew })));
  const reports = await runKernels(kernels, {
    extent: options.includes("--quick") ? "quick" : "full",
    timeoutMs,
    onReport: ({ series: kernel }, report) => printProgress(kernel, report),
  });

  const own: Report[] = [{ kind: "booted", release: release() }, ...loadObjects(), ...probes(), { kind: "done" }];
  const table = capabilityTable([...reports.values(), own]);
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, "kernels.md"), table);
  writeFileSync(join(results, "reports.json"), `${JSON.stringify([...reports.values(), own], null, 1)}\n`);
  console.log(`\n${table}`);
  let failed = 0;
  for (const [kernel, reported] of reports) {
    for (const problem of problemsOf(reported)) {
      failed++;
      console.log(`${kernel.series}: ${problem}\n  (its console: ${consolePath(kernel)})`);
    }
  }
  return failed > 0 ? 1 : 0;
}

function printProgress(kernel: string, report: Report): void {
  if (report.kind === "booted") console.log(`${kernel}: ${report.release} is up`);
  if (report.kind !== "test") return;
  const { title, seconds, error, skipped } = report;
  const outcome = error !== undefined ? "FAIL" : skipped !== undefined ? "skip" : "ok  ";
  console.log(`${kernel}: ${outcome} ${title}${skipped ? `: ${skipped}` : ""} (${seconds.toFixed(1)} s)`);
  if (error !== undefined) console.log(error.replace(/^/gm, "    "));
}
