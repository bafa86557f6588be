// A growing list that tests wait on: lines of a program, events of culvert. Waiting looks at what is already there first,
// so nothing can be missed between "do" and "wait". A wait that fails says what was waited for and what came instead.

/** An emulated machine (test/vm) asks for more. */
export const patienceMs = Number(process.env.CULVERT_TEST_PATIENCE_MS ?? 45_000);

interface Wait<T> {
  readonly isMet: (items: readonly T[]) => boolean;
  readonly settle: (error?: Error) => void;
}

export class Journal<T> {
  readonly items: T[] = [];
  readonly #of: string;
  readonly #waits = new Set<Wait<T>>();
  #ended: string | undefined;
  #listener: ((item: T) => void) | undefined;

  /** `of` names the source in messages: "stdout of nginx in web-1". */
  constructor(of: string) {
    this.#of = of;
  }

  push(item: T): void {
    this.items.push(item);
    this.#listener?.(item);
    for (const wait of this.#waits) if (wait.isMet(this.items)) wait.settle();
  }

  /** Hands every further entry to `listener` (one). */
  onPush(listener: (item: T) => void): void {
    this.#listener = listener;
  }

  /** Nothing more will come: waits that are not met fail now. */
  end(reason: string): void {
    this.#ended = reason;
    for (const wait of this.#waits) wait.settle(this.#failure("the wanted entry", reason));
  }

  /** The first entry, old or new, that matches. */
  async find(what: string, matches: (item: T) => boolean, timeoutMs = patienceMs): Promise<T> {
    await this.until(what, (items) => items.some(matches), timeoutMs);
    return this.items.find(matches)!;
  }

  /** All matching entries as soon as there are at least `count`. */
  async atLeast(count: number, what: string, matches: (item: T) => boolean, timeoutMs = patienceMs): Promise<T[]> {
    await this.until(`${count} × ${what}`, (items) => items.filter(matches).length >= count, timeoutMs);
    return this.items.filter(matches);
  }

  /** Waits for any property of the whole list. */
  until(what: string, isMet: (items: readonly T[]) => boolean, timeoutMs = patienceMs): Promise<void> {
    if (isMet(this.items)) return Promise.resolve();
    if (this.#ended !== undefined) return Promise.reject(this.#failure(what, this.#ended));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => wait.settle(this.#failure(what, `not within ${timeoutMs} ms`)), timeoutMs);
      const wait: Wait<T> = {
        isMet,
        settle: (error) => {
          clearTimeout(timer);
          this.#waits.delete(wait);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      this.#waits.add(wait);
    });
  }

  #failure(what: string, why: string): Error {
    const last = this.items.slice(-12).map((item) => (typeof item === "string" ? item : JSON.stringify(item)));
    return new Error(`${this.#of}: waited for ${what}: ${why}; last entries:\n  ${last.join("\n  ") || "(none)"}`);
  }
}
