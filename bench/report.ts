// Results on disk and on the terminal. bench/results holds nothing but complete runs, written here and edited by nobody;
// what a quick or partial run measured goes to build/bench/results.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { table as columns } from "../src/cli/output.ts";
import type { Figure, Result } from "./figures.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** The path of a result file; makes its directory. */
export function resultPath(name: string, isComplete: boolean): string {
  const directory = join(root, isComplete ? "bench/results" : "build/bench/results");
  mkdirSync(directory, { recursive: true });
  return join(directory, `${name}.json`);
}

export function writeResult(path: string, result: Result): void {
  writeFileSync(path, `${JSON.stringify(result, (_, value) => rounded(value), 1)}\n`);
}

/** One row per figure and subject; its ratios to the baselines beside it. */
export function table(figures: readonly Figure[], baselines: readonly string[]): string {
  const ratioTo = (figure: Figure, baseline: string) =>
    figures.find(
      ({ name, subject }) =>
        name === `${figure.name}_to_${baseline.replaceAll("-", "_")}` && subject === figure.subject,
    );
  const rows = figures
    .filter(
      ({ unit, name }) => unit !== "ratio" || !baselines.some((b) => name.endsWith(`_to_${b.replaceAll("-", "_")}`)),
    )
    .map((figure) => [
      figure.name,
      figure.subject,
      withInterval(figure),
      figure.unit,
      ...baselines.map((baseline) => withInterval(ratioTo(figure, baseline))),
    ]);
  const head = ["figure", "subject", "median [95 %]", "unit", ...baselines.map((baseline) => `÷ ${baseline}`)];
  return columns(head, rows);
}

function withInterval(figure: Figure | undefined): string {
  if (figure === undefined) return "";
  return `${readable(figure.median)} [${readable(figure.low)}, ${readable(figure.high)}]`;
}

function readable(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

/** Six digits are more than any measurement has. */
function rounded(value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}
