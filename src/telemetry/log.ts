// The node's log: JSON lines on standard output, written by the main thread. Workers hand over access-log lines that are
// already formatted (access-log.ts), many at a time, and the main thread writes them as they are.
// Standard output that is read too slowly, or takes nothing (a full disk), never stops the process nor grows its memory
// beyond a bound: lines are dropped.

import { destination, type Logger, levels, pino, stdTimeFunctions } from "pino";
import { EventRing } from "./event-ring.ts";
import type { LogLevel } from "./log-level.ts";

export type { Logger } from "pino";

export interface LogOutput {
  /** One or more whole lines, each with its newline. */
  write(lines: string): void;
  /** Resolves when all of it is written, or cannot be. To be awaited before the process ends. */
  flushed(): Promise<void>;
}

/** What may wait for a slow reader: some 30,000 lines. */
const maxWaitingBytes = 8 * 1024 * 1024;

/** A process that ends waits no longer for whoever reads. */
const flushTimeoutMs = 1_000;

/** `onDrop` is called with what a slow reader made us drop. */
export function openLogOutput(fd = 1, onDrop: (lines: string) => void = () => {}): LogOutput {
  const output = destination({ fd, sync: false, maxLength: maxWaitingBytes });
  let isWritten = true;
  let isStuck = false;
  output.on("drop", onDrop);
  output.on("drain", () => {
    isWritten = true;
    isStuck = false;
  });
  // Otherwise it would be thrown. The next line is another try, of what waits too.
  output.on("error", () => {
    isStuck = true;
  });
  // By the library when the process exits: it tries for as long as it fails.
  const { flushSync } = output;
  output.flushSync = () => {
    if (!isStuck) flushSync.call(output);
  };
  return {
    write(lines) {
      isWritten = false;
      output.write(lines);
    },
    async flushed() {
      if (isWritten || isStuck) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(() => {
        isStuck = true;
        resolve();
      }, flushTimeoutMs);
      output.once("drain", resolve).once("error", resolve);
      await promise;
      clearTimeout(timer);
    },
  };
}

/** The main thread's log: what is at `level` or above goes out, what is noteworthy (info or above) to the events too. */
export class NodeLog {
  readonly logger: Logger;
  readonly events: EventRing;
  readonly #sink: LevelSink;
  #level: LogLevel;

  constructor(level: LogLevel, output: LogOutput) {
    this.events = new EventRing();
    this.#sink = new LevelSink(output, this.events);
    this.logger = pino(
      {
        base: null,
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      this.#sink,
    );
    this.#level = level;
    this.level = level;
  }

  /** A line that was formatted elsewhere. */
  add(level: LogLevel, line: string): void {
    this.#sink.lastLevel = levels.values[level]!;
    this.#sink.write(`${line}\n`);
  }

  get level(): LogLevel {
    return this.#level;
  }

  set level(level: LogLevel) {
    this.#level = level;
    this.#sink.lowest = levels.values[level]!;
    this.logger.level = level === "debug" ? "debug" : "info";
  }
}

const wantsMetadata: unique symbol = Symbol.for("pino.metadata");

/** A destination of pino's that is told each line's level. */
class LevelSink {
  readonly [wantsMetadata] = true;
  /** By pino, before each write. */
  lastLevel: number;
  lowest: number;
  readonly #output: LogOutput;
  readonly #events: EventRing;

  constructor(output: LogOutput, events: EventRing) {
    this.lastLevel = 0;
    this.lowest = 0;
    this.#output = output;
    this.#events = events;
  }

  write(line: string): void {
    if (this.lastLevel >= this.lowest) this.#output.write(line);
    if (this.lastLevel >= levels.values.info!) this.#events.add(line);
  }
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
