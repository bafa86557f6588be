// The node's log: JSON lines on standard output, written by the main thread. Workers hand over access-log lines that are
// already formatted (access-log.ts), many at a time, and the main thread writes them as they are.
// Standard output that is read too slowly never stops the process nor grows its memory beyond a bound: lines are dropped.

import { destination, type Logger, pino, stdTimeFunctions } from "pino";

export type { Logger } from "pino";
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Where lines go. `flushSync` before the process ends by anything but process.exit or an empty loop. */
export interface LogOutput {
  /** One or more whole lines, each with its newline. */
  write(lines: string): void;
  flushSync(): void;
}

/** What may wait for a slow reader: some 30,000 lines. */
const maxWaitingBytes = 8 * 1024 * 1024;

/** `onDrop` is called with what a slow reader made us drop. */
export function openLogOutput(fd = 1, onDrop: (lines: string) => void = () => {}): LogOutput {
  const output = destination({ fd, sync: false, maxLength: maxWaitingBytes });
  output.on("drop", onDrop);
  return output;
}

export function createLogger(level: LogLevel, output: LogOutput = openLogOutput()): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    output,
  );
}

const batchLength = 64 * 1024;
const batchDelayMs = 50;

/** Collects a worker's lines and posts them 64 KiB at a time, or 50 ms after the first: a message per line would cost more than the line. */
export class LineBatch {
  readonly #post: (lines: string) => void;
  #lines: string;
  #timer: NodeJS.Timeout | undefined;

  constructor(post: (lines: string) => void) {
    this.#post = post;
    this.#lines = "";
    this.#timer = undefined;
  }

  /** `line` has no newline. */
  add(line: string): void {
    this.#lines += `${line}\n`;
    if (this.#lines.length >= batchLength) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), batchDelayMs);
  }

  /** Posts what is there now: call it before the worker ends. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lines === "") return;
    const lines = this.#lines;
    this.#lines = "";
    this.#post(lines);
  }
}
