// What follows from a guest's reports. A matrix that overlooks a failure would be worse than none.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Probe, probeKernel } from "../../src/kernel/probes.ts";
import { projectRoot } from "../netns/harness/tools.ts";
import { isTrueOf, problemsOf, type Report } from "./report.ts";
import { capabilityTable, featureTable } from "./table.ts";

const lookup: Probe = { name: "sk_lookup", supported: true, needs: "requires >= v5.9", instead: undefined };
const good: readonly Report[] = [
  { kind: "booted", release: "6.1.0-56-cloud-amd64" },
  { kind: "object", name: "connect.bpf.o", error: undefined },
  { kind: "probe", probe: lookup },
  { kind: "test", title: "it works", seconds: 1, error: undefined, skipped: undefined },
  { kind: "done" },
];

test("a probe is true when it answers what the kernel's release should have", () => {
  for (const { release, needs, has } of [
    { release: "5.8.18", needs: "requires >= v5.9", has: false },
    { release: "5.9.0", needs: "requires >= v5.9", has: true },
    { release: "5.10.0-46-cloud-amd64", needs: "requires >= v5.9", has: true },
    { release: "5.10.0-46-cloud-amd64", needs: "requires >= v5.14", has: false },
    { release: "6.1.0-56-cloud-amd64", needs: "requires >= v5.14", has: true },
    { release: "6.12.117+deb13-cloud-amd64", needs: "requires >= v6.1", has: true },
    { release: "5.19.0", needs: "requires >= v6.1", has: false },
  ]) {
    for (const supported of [true, false]) {
      assert.equal(isTrueOf(release, { ...lookup, needs, supported }), supported === has, `${release}, ${needs}`);
    }
  }
});

test("reports without a fault have no problem, and each fault is one", () => {
  assert.deepEqual(problemsOf(good), []);
  for (const { kind, fault, problem } of [
    { kind: "object", fault: { kind: "object", name: "x.bpf.o", error: "no" }, problem: "x.bpf.o does not load: no" },
    {
      kind: "probe",
      fault: { kind: "probe", probe: { ...lookup, supported: false } },
      problem: 'probe "sk_lookup" says not supported (requires >= v5.9)',
    },
    {
      kind: "test",
      fault: { kind: "test", title: "it works", seconds: 1, error: "no", skipped: undefined },
      problem: "it works: no",
    },
  ] as { kind: string; fault: Report; problem: string }[]) {
    const reports = good.map((report) => (report.kind === kind ? fault : report));
    assert.deepEqual(problemsOf(reports), [problem]);
  }
});

test("a guest that ends early is a problem, wherever it ends", () => {
  for (let length = 0; length < good.length; length++) assert.notDeepEqual(problemsOf(good.slice(0, length)), []);
  const [booted, , , , done] = good;
  for (const kind of ["object", "probe", "test"]) {
    assert.deepEqual(problemsOf(good.filter((report) => report.kind !== kind)), [
      `nothing was reported of any ${kind}`,
    ]);
  }
  assert.equal(problemsOf([booted!, done!]).length, 3);
});

test("the table has a column for each kernel and a row for whatever any of them reported", () => {
  const other: readonly Report[] = [
    { kind: "booted", release: "5.10.0" },
    { kind: "object", name: "connect.bpf.o", error: "no" },
    { kind: "test", title: "it works", seconds: 1, error: undefined, skipped: "not here" },
  ];
  const rows = capabilityTable([good, other]).trim().split("\n");
  assert.deepEqual(rows, [
    "| capability | 6.1.0-56-cloud-amd64 | 5.10.0 |",
    "| --- | --- | --- |",
    "| loads: connect.bpf.o | ok | FAILS |",
    "| probe: sk_lookup (>= v5.9) | yes |  |",
    "| test: it works | ok | skipped |",
  ]);
});

test("the table of features says of each kernel what it has, and what is used where that is missing", () => {
  const cookie: Probe = { name: "SO_NETNS_COOKIE", supported: false, needs: "requires >= v5.14", instead: "a program" };
  const kernels: Report[][] = [
    [{ kind: "booted", release: "5.10.0" }, ...[lookup, cookie].map((probe) => ({ kind: "probe", probe }) as const)],
    [...good, { kind: "probe", probe: { ...cookie, supported: true } }],
  ];
  assert.deepEqual(featureTable(kernels).trim().split("\n"), [
    "| feature | since Linux | 5.10.0 | 6.1.0-56-cloud-amd64 | where it is missing |",
    "| --- | --- | --- | --- | --- |",
    "| sk_lookup | 5.9 | yes | yes | nothing: Culvert does not start |",
    "| SO_NETNS_COOKIE | 5.14 | no | yes | a program |",
    "| capture tests passed |  | not run by this | 1 of 1 |  |",
  ]);
});

test("docs/kernels.md has every feature that is probed, and what is used instead", () => {
  const text = readFileSync(join(projectRoot, "docs/kernels.md"), "utf8");
  const written = text
    .split("\n")
    .flatMap((line) => (/^\| (?!feature|---|capture)/.test(line) ? [line.split(" | ")] : []));
  assert.deepEqual(
    written.map((cells) => [cells[0]!.slice(2), cells[1], cells.at(-1)!.replace(/ \|$/, "")]),
    probeKernel().map(({ name, needs, instead }) => [
      name,
      needs.replace("requires >= v", ""),
      instead ?? "nothing: Culvert does not start",
    ]),
    "docs/kernels.md is old; npm run test:kernels",
  );
});
