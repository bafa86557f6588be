// The Prometheus text format, read as far as tests need it: samples with labels.

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class Metrics {
  readonly samples: readonly Sample[];

  constructor(text: string) {
    this.samples = text.split("\n").flatMap((line) => parseSample(line) ?? []);
  }

  /** The sum over all samples of that name that carry these labels; 0 when there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.samples
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
      .reduce((total, sample) => total + sample.value, 0);
  }
}

function parseSample(line: string): Sample | undefined {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
  if (match === null) return undefined;
  const labels = Object.fromEntries(
    [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, value]) => [label!, value!]),
  );
  return { name: match[1]!, labels, value: Number(match[3]) };
}
