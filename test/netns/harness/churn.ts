// Short connections that the client closes first, as many and as fast as they go (tools/churn.c).

import type { Host } from "./host.ts";
import type { RunningProcess } from "./running-process.ts";
import { tool } from "./tools.ts";

export interface ChurnResult {
  readonly succeeded: number;
  /** Of all, those that were connected past the proxy of the client's pod. */
  readonly direct: number;
  /** By errno; ENODATA is a FIN where the answer was due. */
  readonly failed: Readonly<Record<string, number>>;
  readonly seconds: number;
}

/** Connections that a client has open at a time, unless told otherwise. */
export const defaultConcurrency = 16;

export function failures({ failed }: ChurnResult): number {
  return Object.values(failed).reduce((sum, count) => sum + count, 0);
}

export async function churn(
  client: Host,
  address: string,
  port: number,
  options: { connections: number; concurrency?: number; firstSourcePort?: number },
): Promise<ChurnResult> {
  const { connections, concurrency = defaultConcurrency, firstSourcePort } = options;
  const ports = firstSourcePort === undefined ? [] : [`${firstSourcePort}`];
  const output = await client.run(
    await tool("churn"),
    address,
    `${port}`,
    `${connections}`,
    `${concurrency}`,
    ...ports,
  );
  return (JSON.parse(output.split("\n").at(-1)!) as ChurnResult[])[0]!;
}

/** Goes on until `stop`. Connections are counted in the phase in which they were started. */
export class EndlessChurn {
  readonly #process: RunningProcess;
  #phases = 1;

  private constructor(process: RunningProcess) {
    this.#process = process;
  }

  /** `patienceSeconds`: how long a connection may take. */
  static async start(client: Host, address: string, port: number, patienceSeconds = 10): Promise<EndlessChurn> {
    const patience = `CHURN_PATIENCE_S=${patienceSeconds}`;
    const endless = new EndlessChurn(
      await client.start("env", patience, await tool("churn"), address, `${port}`, "0", `${defaultConcurrency}`),
    );
    await endless.#phaseBegan();
    return endless;
  }

  async nextPhase(): Promise<void> {
    this.#phases++;
    this.#process.writeLine("");
    await this.#phaseBegan();
  }

  /** The result of every phase. */
  async stop(): Promise<ChurnResult[]> {
    this.#process.endInput();
    const line = await this.#process.stdout.find("the result", (text) => text.startsWith("["));
    return JSON.parse(line) as ChurnResult[];
  }

  async #phaseBegan(): Promise<void> {
    await this.#process.stdout.atLeast(this.#phases, "phase", (text) => text === "phase");
  }
}
