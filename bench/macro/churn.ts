// `churn`: a minute of short connections that the client closes first. Such a client leaves its ports in TIME_WAIT; a
// proxy that funnels them to one address runs out of ports after some seconds and stalls. The rate of the last third over
// that of the first says whether it does. Each run has fresh namespaces, for TIME_WAIT lives in them.

import type { SampleBook } from "../figures.ts";
import { lastThirdOverFirst, orderOfRound } from "../statistics.ts";
import { Place } from "./place.ts";
import { runThrough, startSubject } from "./running.ts";
import type { Subject } from "./subjects.ts";

export interface ChurnSettings {
  readonly durationMs: number;
  /** Width of the series' buckets; a second but in quick runs. */
  readonly bucketMs: number;
}

/** Returns the number of errors of all runs. */
export async function measureChurn(
  subjects: readonly Subject[],
  settings: ChurnSettings,
  book: SampleBook,
  progress: (line: string) => void,
): Promise<number> {
  let errorCount = 0;
  for (const [round, family] of ([4, 6] as const).entries()) {
    for (const subject of orderOfRound(subjects, round)) {
      await using place = await Place.start();
      const running = await startSubject(subject, place);
      const targets = running.carrier.targets(family).short;
      const load = { mode: "connect", connections: 32, targets, ...settings } as const;
      const { errors, series } = await runThrough(running, load);
      const failed = Object.values(errors).reduce((sum, count) => sum + count, 0);
      errorCount += failed;
      const add = (name: string, unit: string, value: number) => book.add(name, unit, subject.name, value);
      for (const count of series) add(`connections_per_s_ipv${family}`, "1/s", count / (settings.bucketMs / 1e3));
      for (const ratio of lastThirdOverFirst(series)) add(`last_third_over_first_ipv${family}`, "ratio", ratio);
      add(`errors_ipv${family}`, "count", failed);
      const named = Object.entries(errors).map(([name, count]) => `, ${count} × ${name}`);
      progress(`${subject.name}, IPv${family}: ${series.reduce((sum, n) => sum + n, 0)} connections${named.join("")}`);
    }
  }
  return errorCount;
}
