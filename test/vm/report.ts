// What a guest tells the host, one JSON line each, and what follows from it. Also for a machine's own kernel.

import type { Probe } from "../../src/kernel/probes.ts";

/** `quick`: what every CI run can afford. `full`: all capture tests. */
export type Extent = "quick" | "full";

export type Report =
  | { kind: "booted"; release: string }
  /** `error` is undefined where the object loads. */
  | { kind: "object"; name: string; error: string | undefined }
  | { kind: "probe"; probe: Probe }
  /** `skipped`: why the test did not run. */
  | { kind: "test"; title: string; seconds: number; error: string | undefined; skipped: string | undefined }
  | { kind: "done" };

export type ReportOf<K extends Report["kind"]> = Extract<Report, { kind: K }>;

export function reportsOf<K extends Report["kind"]>(reports: readonly Report[], kind: K): ReportOf<K>[] {
  return reports.filter((report): report is ReportOf<K> => report.kind === kind);
}

/** Whether a kernel's answer is what its release should have: "requires >= v5.9" on "6.1.0-56-cloud-amd64". */
export function isTrueOf(release: string, { supported, needs }: Probe): boolean {
  const [major, minor] = numbers(release);
  const [neededMajor, neededMinor] = numbers(needs);
  return supported === (major > neededMajor || (major === neededMajor && minor >= neededMinor));
}

function numbers(text: string): [number, number] {
  const match = /(\d+)\.(\d+)/.exec(text);
  if (match === null) throw new Error(`no release in ${JSON.stringify(text)}`);
  return [Number(match[1]), Number(match[2])];
}

/** What is wrong, in words; empty when all is well. Incomplete reports are wrong too. */
export function problemsOf(reports: readonly Report[]): string[] {
  const [booted] = reportsOf(reports, "booted");
  if (booted === undefined) return ["the kernel did not boot as far as Node"];
  const problems: string[] = [];
  for (const kind of ["object", "probe", "test"] as const) {
    if (reportsOf(reports, kind).length === 0) problems.push(`nothing was reported of any ${kind}`);
  }
  for (const { name, error } of reportsOf(reports, "object")) {
    if (error !== undefined) problems.push(`${name} does not load: ${error}`);
  }
  for (const { probe } of reportsOf(reports, "probe")) {
    if (isTrueOf(booted.release, probe)) continue;
    problems.push(`probe "${probe.name}" says ${probe.supported ? "supported" : "not supported"} (${probe.needs})`);
  }
  for (const { title, error } of reportsOf(reports, "test"))
    if (error !== undefined) problems.push(`${title}: ${error}`);
  if (reportsOf(reports, "done").length === 0) problems.push("the guest ended before all was done");
  return problems;
}
