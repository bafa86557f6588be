// What the demo's client does to the web service: requests one after another, or many at once while something happens.

import type { Pod } from "../netns/harness/pod.ts";
import type { RunningProcess } from "../netns/harness/running-process.ts";

export const requests = 300;

export interface Tally {
  /** Answers by the name of who gave them. */
  readonly answers: ReadonlyMap<string, number>;
  readonly failed: number;
  /** Of one request; NaN where none was made one after another. */
  readonly medianUs: number;
}

/** Many requests one after another. */
export async function tally(client: Pod, url: string, connection: "new" | "kept" = "new"): Promise<Tally> {
  const close = connection === "new" ? ["-H", "Connection: close"] : [];
  const options = ["-sS", ...close, "-w", "%{time_total}\n"];
  const { stdout } = await client.attempt("curl", ...options, `${url}?[1-${requests}]`);
  const times: number[] = [];
  const names: string[] = [];
  for (const line of stdout.split("\n")) {
    const seconds = Number(line);
    if (Number.isNaN(seconds)) names.push(line.split(" ")[0]!);
    else times.push(seconds * 1e6);
  }
  const medianUs = Math.round(times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!);
  return { answers: countOf(names), failed: requests - names.length, medianUs };
}

/** New connections, eight at a time, for as long as `during` takes and until `most` are made. */
export class Load {
  readonly #curl: RunningProcess;
  readonly #total: number;

  private constructor(curl: RunningProcess, total: number) {
    this.#curl = curl;
    this.#total = total;
  }

  static async start(client: Pod, url: string, total: number): Promise<Load> {
    const options = ["-sS", "-Z", "--parallel-max", "8", "-H", "Connection: close"];
    return new Load(await client.start("curl", ...options, `${url}?[1-${total}]`), total);
  }

  /** Resolves when so many have been answered. */
  async answered(count: number): Promise<void> {
    await this.#curl.stdout.until(`${count} answers`, ({ length }) => length >= count);
  }

  async ended(): Promise<Tally> {
    await this.#curl.exited;
    const names = this.#curl.stdout.items.map((line) => line.split(" ")[0]!);
    return { answers: countOf(names), failed: this.#total - names.length, medianUs: Number.NaN };
  }
}

function countOf(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
