// Boots Debian's kernels in an emulator and runs there what tells whether Culvert works on them: every BPF object loads,
// the probes tell the truth, the capture tests pass, and the command carries a curl. Prints a table kernel × capability,
// and keeps it in test/vm/results. A run of all kernels and tests that finds no problem also writes docs/kernels.md.
//
// Usage: test-kernels.ts [5.10 | 6.1 | 6.12 …] [--quick] [--renew]; --renew asks for newer point releases.

import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { loadObjects, probes } from "../test/vm/capabilities.ts";
import { allSeries, provideKernel } from "../test/vm/kernel-package.ts";
import { consolePath, runKernels } from "../test/vm/kernel-run.ts";
import { problemsOf, type Report } from "../test/vm/report.ts";
import { capabilityTable, featureTable } from "../test/vm/table.ts";
import { cannotEmulate } from "../test/vm/virtual-machine.ts";

const results = join(import.meta.dirname, "../test/vm/results");
const document = join(import.meta.dirname, "../docs/kernels.md");
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
  const all = [...reports.values(), own];
  const table = capabilityTable(all);
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, "kernels.md"), table);
  writeFileSync(join(results, "reports.json"), `${JSON.stringify(all, null, 1)}\n`);
  console.log(`\n${table}`);
  let failed = 0;
  for (const [kernel, reported] of reports) {
    for (const problem of problemsOf(reported)) {
      failed++;
      console.log(`${kernel.series}: ${problem}\n  (its console: ${consolePath(kernel)})`);
    }
  }
  if (failed > 0) return 1;
  if (chosen.length === 0 && !options.includes("--quick")) writeFileSync(document, kernelsDocument(all));
  return 0;
}

function kernelsDocument(all: readonly (readonly Report[])[]): string {
  return `# Kernels

What each kernel has of what Culvert uses, as its own probes say there (\`src/kernel/probes.ts\`; \`culvert check\` says it of a running one), and what
is used where it is missing. Written by \`npm run test:kernels\`: Debian's kernels, emulated, and last that of the machine that wrote it.

${featureTable(all)}`;
}

function printProgress(kernel: string, report: Report): void {
  if (report.kind === "booted") console.log(`${kernel}: ${report.release} is up`);
  if (report.kind !== "test") return;
  const { title, seconds, error, skipped } = report;
  const outcome = error !== undefined ? "FAIL" : skipped !== undefined ? "skip" : "ok  ";
  console.log(`${kernel}: ${outcome} ${title}${skipped ? `: ${skipped}` : ""} (${seconds.toFixed(1)} s)`);
  if (error !== undefined) console.log(error.replace(/^/gm, "    "));
}
