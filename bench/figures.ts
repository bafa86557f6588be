// The result format: every figure is a name, a subject and its raw samples, one a round, with their median and its
// interval. Ratios to a baseline are figures too, of the pairs taken in the same round. Pure.

import { pairedRatios, summarize } from "./statistics.ts";

export interface Series {
  name: string;
  subject: string;
  unit: string;
  /** One a round, in the order of the rounds. */
  samples: number[];
}

export interface Figure extends Series {
  median: number;
  /** 95 % bootstrap interval of the median. */
  low: number;
  high: number;
}

export interface Result {
  machine: Record<string, string | number>;
  commit: string;
  settings: Record<string, string | number | boolean | readonly string[]>;
  figures: Figure[];
}

/** Collects samples by name and subject, in the order in which they first come. */
export class SampleBook {
  readonly #series = new Map<string, Series>();

  add(name: string, unit: string, subject: string, value: number): void {
    const key = `${name} ${subject}`;
    const series = this.#series.get(key) ?? { name, subject, unit, samples: [] };
    series.samples.push(value);
    this.#series.set(key, series);
  }

  /** Grouped by name. */
  series(): Series[] {
    const all = [...this.#series.values()];
    return [...new Set(all.map(({ name }) => name))].flatMap((name) => all.filter((series) => series.name === name));
  }
}

/**
 * Each series as a figure, followed by its ratios to every baseline that has the same one: `<name>_to_<baseline>`.
 */
export function toFigures(all: readonly Series[], baselines: readonly string[]): Figure[] {
  return all.flatMap((series) => [
    toFigure(series),
    ...baselines.flatMap((baseline) => {
      const base = all.find((other) => other.name === series.name && other.subject === baseline);
      if (base === undefined || series.subject === baseline || !isAbsolute(series)) return [];
      const samples = pairedRatios(series.samples, base.samples);
      const name = `${series.name}_to_${baseline.replaceAll("-", "_")}`;
      return [toFigure({ name, subject: series.subject, unit: "ratio", samples })];
    }),
  ]);
}

/** Counts of errors are zero, and a ratio of ratios or of differences says nothing. */
function isAbsolute({ unit }: Series): boolean {
  return unit !== "count" && unit !== "ratio" && !unit.endsWith(" more");
}

function toFigure(series: Series): Figure {
  const { median, low, high } = summarize(series.samples);
  const { name, subject, unit, samples } = series;
  return { name, subject, unit, median, low, high, samples };
}
