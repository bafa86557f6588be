// The benchmarks at about a second a subject: that they work, not what they measure.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import type { Figure, Result } from "../../bench/figures.ts";
import { subjects } from "../../bench/macro/subjects.ts";
import { tlsSubjects } from "../../bench/macro/tls/subjects.ts";
import { layers } from "../../bench/micro/layers.ts";
import { projectRoot } from "./harness/tools.ts";

async function quick(benchmark: string): Promise<Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), "culvert-bench-"));
  try {
    const out = join(directory, "result.json");
    const words = [process.execPath, join(projectRoot, "bench/run.ts"), benchmark, "--quick", "--out", out];
    // It dies with this process, and with it what it made.
    await promisify(execFile)("setpriv", ["--pdeathsig", "KILL", "--", ...words], { maxBuffer: 2 ** 24 });
    const { commit, figures } = JSON.parse(readFileSync(out, "utf8")) as Result;
    assert.match(commit, /^[0-9a-f]{40}/);
    return figures;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function assertMeasured(figures: readonly Figure[], name: string, subject: string): void {
  const figure = figures.find((other) => other.name === name && other.subject === subject);
  assert.ok(figure !== undefined, `${name} of ${subject} is missing`);
  const { median, low, high, samples, unit } = figure;
  // The machine's CPU time is counted in ticks, of which a quick run may have none.
  const isPlausible = (sample: number) => sample > 0 || (sample === 0 && name.startsWith("machine_"));
  const isMeasured = samples.length > 0 && samples.every(isPlausible) && low <= median && median <= high;
  assert.ok(isMeasured && unit !== "", `${name} of ${subject}: ${JSON.stringify(figure)}`);
}

test("the tcp benchmark measures every figure for every subject, and its ratios to unmeshed and HAProxy", async () => {
  const figures = await quick("tcp");
  const ofAll = ["requests_per_s_c64", "rtt_us_c1_p50", "rtt_us_c1_p99", "bulk_gbytes_per_s", "connections_per_s"];
  const ofProxies = ["cpu_us_per_message_c64", "cpu_us_per_message_2000"];
  const ofMachine = ofProxies.map((name) => `machine_${name}`);
  const installed = subjects.filter((subject) => subject.missing?.() === undefined).map(({ name }) => name);
  for (const subject of installed) {
    const isProxy = subject !== "unmeshed";
    for (const name of [...ofAll, ...ofMachine, ...(isProxy ? ofProxies : [])]) assertMeasured(figures, name, subject);
    if (!isProxy) continue;
    for (const name of ofAll) assertMeasured(figures, `${name}_to_unmeshed`, subject);
    if (subject === "haproxy-tcp" || !installed.includes("haproxy-tcp")) continue;
    for (const name of [...ofAll, ...ofProxies]) assertMeasured(figures, `${name}_to_haproxy_tcp`, subject);
  }
});

test("the churn benchmark measures Culvert beside unmeshed over both families, without an error", async () => {
  const figures = await quick("churn");
  for (const family of ["ipv4", "ipv6"]) {
    for (const subject of ["unmeshed", "culvert-relay"]) {
      const samplesOf = (name: string) =>
        figures.find((figure) => figure.name === `${name}_${family}` && figure.subject === subject)?.samples ?? [];
      // A quick run's tenth of a second may pass without a connection where others are at work.
      assert.ok(samplesOf("connections_per_s").some((sample) => sample > 0));
      assert.ok(samplesOf("last_third_over_first").length > 0);
      assert.deepEqual(samplesOf("errors"), [0]);
    }
  }
});

test("the first-byte benchmark measures how long SSH, SMTP, MySQL and PostgreSQL take to answer beside unmeshed", async () => {
  const figures = await quick("first-byte");
  const servers = ["", "_openssh", "_exim", "_mariadb", "_postgresql"];
  const compared = ["unmeshed", "culvert-relay", "haproxy-tcp"];
  const missing = subjects.filter((subject) => subject.missing?.() !== undefined).map(({ name }) => name);
  for (const subject of compared.filter((name) => !missing.includes(name))) {
    for (const name of servers.flatMap((server) => [`first_byte_us_p50${server}`, `first_byte_us_p99${server}`])) {
      assertMeasured(figures, name, subject);
      if (subject !== "unmeshed") assertMeasured(figures, `${name}_to_unmeshed`, subject);
    }
  }
});

test("the config benchmark measures a large mesh and a small change", async () => {
  const figures = await quick("config");
  assert.deepEqual(
    figures.map(({ name, unit }) => `${name} ${unit}`),
    [
      "config_apply_all_ms ms",
      "config_apply_one_ms ms",
      "config_more_memory_mb MB",
      "config_worker_stall_all_ms ms",
      "config_worker_stall_one_ms ms",
    ],
  );
  assert.ok(figures.every(({ median }) => Number.isFinite(median)));
});

test("the idle benchmark measures what open connections cost, and many more would", async () => {
  const figures = await quick("idle");
  assert.deepEqual(
    figures.map(({ name, unit }) => `${name} ${unit}`),
    [
      "idle_bytes_per_side_200 bytes",
      "idle_bytes_per_side_400 bytes",
      "idle_megabytes_100000_extrapolated MB",
      "idle_megabytes_more_when_opened_again MB",
    ],
  );
  assert.ok(figures.every(({ median }) => Number.isFinite(median)));
});

test("the reactor benchmark measures every step and what each layer adds to a message and to a connection", async () => {
  const figures = await quick("reactor");
  const names = new Set(figures.map(({ name }) => name));
  for (const step of ["submit", "command", "command_of_9000", "reserve", "round", "event", "turn"]) {
    assert.ok(names.has(`reactor_${step}`), step);
  }
  for (const layer of layers) {
    for (const unit of ["us_per_message_c64", "us_per_message_2000", "us_per_connection"]) {
      assertMeasured(figures, `cpu_${unit}`, layer);
      assert.ok(figures.some(({ name, subject }) => name === `layer_${unit}` && subject === layer));
      if (layer !== "bytes") assertMeasured(figures, `cpu_${unit}_to_bytes`, layer);
    }
  }
});

test("the tls benchmark measures records, handshakes, bulk and a neighbour in a storm for every subject", async () => {
  const figures = await quick("tls");
  for (const { name: subject } of tlsSubjects.filter(({ missing }) => missing?.() === undefined)) {
    for (const name of ["requests_per_s_c64", "rtt_us_c1_p50", "bulk_gbytes_per_core_s", "handshakes_per_core_s"]) {
      assertMeasured(figures, name, subject);
      if (subject !== "minimal-c") assertMeasured(figures, `${name}_to_minimal_c`, subject);
    }
    const bytes = figures.find((it) => it.name === "idle_bytes_per_session" && it.subject === subject)?.median;
    assert.ok(Number.isFinite(bytes), `${subject}: ${bytes} bytes a session`);
    for (const weather of ["quiet", "storm"]) assertMeasured(figures, `neighbour_p99_us_${weather}`, subject);
  }
});
