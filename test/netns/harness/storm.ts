// Streams that check every byte, in programs that may be killed and stopped at any moment (tools/storm.c).

import type { Host } from "./host.ts";
import type { RunningProcess } from "./running-process.ts";
import { tool } from "./tools.ts";

export interface StormResult {
  /** All came back, and a FIN for the FIN. */
  readonly complete: number;
  /** By the client itself. */
  readonly broken: number;
  /** By an error or a standstill. */
  readonly failed: number;
  /** Ended by a FIN before all had come back. */
  readonly truncated: number;
  /** With a foreign byte. */
  readonly wrong: number;
}

export async function startStormServer(host: Host, port: number): Promise<RunningProcess> {
  const server = await host.start(await tool("storm"), "listen", `${port}`);
  await host.untilListening(server, [port]);
  return server;
}

export interface StormClient {
  readonly streams: number;
  /** After so long without a byte a stream is given up. */
  readonly stallSeconds: number;
  readonly seed: number;
  readonly port: number;
  /** Dialled in turn. */
  readonly addresses: readonly string[];
}

export async function startStormClient(host: Host, client: StormClient): Promise<RunningProcess> {
  const numbers = [client.port, client.streams, client.stallSeconds, client.seed].map(String);
  return host.start(await tool("storm"), ...numbers, ...client.addresses);
}

/** Lets open streams end. */
export async function endStorm(client: RunningProcess): Promise<StormResult> {
  client.endInput();
  return JSON.parse(await client.stdout.find("the result", (line) => line.startsWith("{"), 60_000)) as StormResult;
}
