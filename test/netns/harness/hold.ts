// Many connections held open and idle (tools/hold.c).

import type { Host } from "./host.ts";
import type { RunningProcess } from "./running-process.ts";
import { tool } from "./tools.ts";

/** 9,000 take a few seconds on an idle machine. */
const holdTimeoutMs = 60_000;

export class Hold {
  readonly #process: RunningProcess;
  #calls = 0;

  private constructor(process: RunningProcess) {
    this.#process = process;
  }

  /** The addresses are dialled in turn. */
  static async start(client: Host, port: number, ...addresses: string[]): Promise<Hold> {
    return new Hold(await client.start(await tool("hold"), `${port}`, ...addresses));
  }

  /**
   * Resolves when so many are open, each with a byte there and back behind it, `atOnce` dialled together; fewer are closed by
   * FIN both ways.
   */
  async hold(count: number, atOnce = 64): Promise<void> {
    const number = ++this.#calls;
    this.#process.writeLine(`${count} ${atOnce}`);
    const answered = (lines: readonly string[]) => lines.length >= number;
    await this.#process.stdout.until(`${count} connections`, answered, holdTimeoutMs);
    const answer = this.#process.stdout.items[number - 1]!;
    if (answer !== JSON.stringify({ open: count, failed: {} })) throw new Error(`hold ${count}: ${answer}`);
  }
}
