// Pseudo-random bytes both ways over several connections, with random chunks, pauses and half-closes (tools/transfer.c).

import assert from "node:assert/strict";
import type { Host } from "./host.ts";
import { tool } from "./tools.ts";

interface Flow {
  readonly index: number;
  readonly sentBytes: number;
  readonly sentHash: string;
  readonly receivedBytes: number;
  readonly receivedHash: string;
  /** FIN, or the errno that ended it. */
  readonly end: string;
}

export interface Transfer {
  readonly client: Host;
  readonly server: Host;
  readonly address: string;
  readonly port: number;
  readonly connections: number;
  /** In each direction, over all connections. */
  readonly bytes: number;
  readonly seed: number;
}

/** Fails unless every byte arrived as it was sent, and every direction ended by FIN. */
export async function assertTransfers(transfer: Transfer): Promise<void> {
  const { client, server, address, port, connections, bytes, seed } = transfer;
  const program = await tool("transfer");
  const common = [`${port}`, `${connections}`, `${bytes}`, `${seed}`];
  const sink = await server.start(program, "listen", ...common);
  await server.untilListening(sink, [port]);
  const sent = await client.run(program, address, ...common);
  const [atClient, atServer] = [sent, await sink.stdout.find("the result", () => true)].map(
    (line) => JSON.parse(line) as Flow[],
  );
  for (const flow of atClient!) {
    const other = atServer![flow.index]!;
    const up = { bytes: flow.sentBytes, hash: flow.sentHash };
    const down = { bytes: other.sentBytes, hash: other.sentHash };
    assert.deepEqual({ bytes: other.receivedBytes, hash: other.receivedHash }, up, `client to server, seed ${seed}`);
    assert.deepEqual({ bytes: flow.receivedBytes, hash: flow.receivedHash }, down, `server to client, seed ${seed}`);
    assert.deepEqual([flow.end, other.end], ["FIN", "FIN"]);
  }
  const total = atClient!.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
  assert.ok(total > bytes - 8 * connections, `only ${total} bytes were sent`);
}
