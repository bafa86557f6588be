// What is wrong in a configuration file: all of it at once, each with its place and with what to write instead.

import { CulvertError, describeError } from "../telemetry/errors.ts";

export interface ConfigProblem {
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** Where in the document: `workloads[0].addresses[1]`; empty for the document as a whole. */
  readonly path: string;
  /** What is wrong; what to write instead. */
  readonly message: string;
}

export class ConfigError extends CulvertError {
  readonly file: string;
  /** At least one, in the order of the file. */
  readonly problems: readonly ConfigProblem[];

  constructor(file: string, problems: readonly ConfigProblem[]) {
    const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const count = sorted.length === 1 ? "1 problem" : `${sorted.length} problems`;
    const lines = sorted.map((it) => {
      const path = it.path === "" ? "" : `${it.path}: `;
      return `\n  ${file}:${it.line}:${it.column}: ${path}${it.message}`;
    });
    super("CONFIG_INVALID", describeError("CONFIG_INVALID", { path: file, problems: count }) + lines.join(""));
    this.name = "ConfigError";
    this.file = file;
    this.problems = sorted;
  }
}
