// Kernel × capability, as Markdown tables: all that was reported, and what of it docs/kernels.md says.

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
  return markdown(rows);
}

/** Which feature each kernel has and, where one is missing, what is used instead; last how its tests went. */
export function featureTable(kernels: readonly (readonly Report[])[]): string {
  const releases = kernels.map((reports) => reportsOf(reports, "booted")[0]?.release ?? "did not boot");
  const probes = kernels.map((reports) => reportsOf(reports, "probe").map(({ probe }) => probe));
  const rows = probes[0]!.map(({ name, needs, instead }) => {
    const answers = probes.map((all) => (all.find((it) => it.name === name)?.supported ? "yes" : "no"));
    return [name, needs.replace("requires >= v", ""), ...answers, instead ?? "nothing: Culvert does not start"];
  });
  return markdown([
    ["feature", "since Linux", ...releases, "where it is missing"],
    ["---", "---", ...releases.map(() => "---"), "---"],
    ...rows,
    ["capture tests passed", "", ...kernels.map(passedTests), ""],
  ]);
}

function passedTests(reports: readonly Report[]): string {
  const tests = reportsOf(reports, "test");
  if (tests.length === 0) return "not run by this";
  const passed = tests.filter(({ error, skipped }) => error === undefined && skipped === undefined);
  return `${passed.length} of ${tests.length}`;
}

function markdown(rows: readonly (readonly string[])[]): string {
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
