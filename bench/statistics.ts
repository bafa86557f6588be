// What benchmarks may conclude from samples: medians and their bootstrap intervals. Machines are shared and their mood
// changes by the minute, so subjects are compared only as pairs taken in the same round. Pure and, given a seed,
// repeatable: the same samples give the same interval on every machine.

import { seededRandom } from "../test/seeded-random.ts";

export interface Summary {
  median: number;
  /** The bounds of the 95 % interval of the median. */
  low: number;
  high: number;
}

/** Enough to place the bounds to within one sample's rank. */
const resampleCount = 2_000;

/** The seed of every report, so that an interval can be computed again from a result file's samples. */
export const defaultSeed = 20260101;

/** Linear interpolation between the two nearest ranks. `sorted` is ascending and not empty; `share` is 0 … 1. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) throw new RangeError("quantile of no samples");
  const rank = share * (sorted.length - 1);
  const below = Math.floor(rank);
  const lower = sorted[below]!;
  return lower + (rank - below) * ((sorted[below + 1] ?? lower) - lower);
}

export function median(samples: readonly number[]): number {
  return quantile(
    [...samples].sort((a, b) => a - b),
    0.5,
  );
}

/** The median with its 95 % percentile-bootstrap interval. */
export function summarize(samples: readonly number[], seed = defaultSeed): Summary {
  const random = seededRandom(seed);
  const resample = new Float64Array(samples.length);
  const medians = new Float64Array(resampleCount);
  for (let i = 0; i < resampleCount; ++i) {
    for (let k = 0; k < resample.length; ++k) resample[k] = samples[Math.floor(random() * samples.length)]!;
    medians[i] = quantile(resample.sort(), 0.5);
  }
  medians.sort();
  return { median: median(samples), low: quantile(medians, 0.025), high: quantile(medians, 0.975) };
}

/** `ours[i] / theirs[i]`, both taken in round i. */
export function pairedRatios(ours: readonly number[], theirs: readonly number[]): number[] {
  if (ours.length !== theirs.length) throw new RangeError(`${ours.length} samples cannot pair with ${theirs.length}`);
  return ours.map((value, round) => value / theirs[round]!);
}

/** The seconds of the last third of a series over those of the first, pair by pair: 1 where the rate did not change over time. */
export function lastThirdOverFirst(series: readonly number[]): number[] {
  const third = Math.floor(series.length / 3);
  if (third === 0) throw new RangeError(`a series of ${series.length} has no thirds`);
  return pairedRatios(series.slice(-third), series.slice(0, third));
}

/** ABBA: the order turns round with every round, so that no subject always runs on the machine another has just warmed. */
export function orderOfRound<T>(subjects: readonly T[], round: number): T[] {
  return round % 2 === 0 ? [...subjects] : [...subjects].reverse();
}
