// Kernel × capability, as a Markdown table.

import { type Report, reportsOf } from "./report.ts";

/** A column for each kernel's reports; a row for each thing that any of them reported. */
export function capabilityTable(kernels: readonly (readonly Report[])[]): string {
  const columns = kernels.map((reports) => cells(reports));
  const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  const releases = kernels.map((reports) => reportsOf(reports, "booted")[0]?.release ?? "did not boot");
  const rows = [
    ["capability", ...releases],
    ["---", ...releases.map(() => "---")],
    ...names.map((name) => [name, ...columns.map((column) => column.get(name) ?? "")]),
  ];
  return `${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}\n`;
}

function cells(reports: readonly Report[]): Map<string, string> {
  const column = new Map<string, string>();
  for (const { name, error } of reportsOf(reports, "object"))
    column.set(`loads: ${name}`, error === undefined ? "ok" : "FAILS");
  for (const { probe } of reportsOf(reports, "probe")) {
    column.set(`probe: ${probe.name} (${probe.needs.replace("requires ", "")})`, probe.supported ? "yes" : "no");
  }
  for (const { title, error, skipped } of reportsOf(reports, "test")) {
    column.set(`test: ${title}`, error !== undefined ? "FAILS" : skipped !== undefined ? "skipped" : "ok");
  }
  return column;
}
