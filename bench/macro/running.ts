// A subject at work: runs loads through it and checks that it, and nothing else, carried them.

import { type Load, type LoadReport, runLoad } from "./load.ts";
import type { Place } from "./place.ts";
import type { Carrier, Subject } from "./subjects.ts";

export interface Running {
  readonly subject: Subject;
  readonly place: Place;
  readonly carrier: Carrier;
}

export async function startSubject(subject: Subject, place: Place): Promise<Running> {
  return { subject, place, carrier: await subject.start(place) };
}

/** Throws when the proxy ended or when connections went past it. */
export async function runThrough({ subject, place, carrier }: Running, load: Omit<Load, "watch">): Promise<LoadReport> {
  const before = await carrier.carried?.();
  const report = await runLoad(place.client, {
    ...load,
    watch: carrier.process === undefined ? [] : [carrier.process.pid],
  });
  if (carrier.process?.hasExited) throw new Error(`${subject.name} ended: ${carrier.process.stderr.join("\n  ")}`);
  const after = await carrier.carried?.();
  const expected = load.mode === "connect" || load.mode === "greeting" ? report.count : (load.connections ?? 1);
  if (before !== undefined && after !== undefined && after - before < expected)
    throw new Error(`${subject.name} carried ${after - before} connections of ${expected}: the others went past it`);
  place.truncateLogs();
  return report;
}
