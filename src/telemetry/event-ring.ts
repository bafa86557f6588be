// The latest lines of the node's own log, kept in memory for `culvert events`: what happened lately, whatever became of
// standard output. Connections are none of them: theirs is the access log.

/** At most this much of one line is kept: an error's stack has no bound of its own. */
const maxLineLength = 4096;

export interface NodeEvent {
  /** ISO 8601. */
  readonly time: string;
  readonly level: string;
  readonly event: string;
  /** What else the line said. */
  readonly details: Readonly<Record<string, unknown>>;
}

export class EventRing {
  readonly #lines: string[];
  readonly #capacity: number;
  #next: number;

  constructor(capacity = 1000) {
    this.#lines = [];
    this.#capacity = capacity;
    this.#next = 0;
  }

  /** `line` as the logger writes it: JSON, a newline at its end. */
  add(line: string): void {
    this.#lines[this.#next % this.#capacity] = line.length > maxLineLength ? shorten(line) : line;
    this.#next++;
  }

  /** Oldest first; the latest `limit`. */
  latest(limit: number): NodeEvent[] {
    const count = Math.min(limit, this.#lines.length);
    return Array.from({ length: count }, (_, i) => {
      const { time, level, msg, ...details } = JSON.parse(this.#lines[(this.#next - count + i) % this.#capacity]!);
      return { time, level, event: msg, details };
    });
  }
}

function shorten(line: string): string {
  const { time, level, msg } = JSON.parse(line);
  return JSON.stringify({ time, level, msg, cut: line.slice(0, maxLineLength) });
}
