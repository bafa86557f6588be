// Clients of an echo server whose source ports may meet those that the proxy chose.

import assert from "node:assert/strict";
import type { Host } from "./host.ts";
import type { Pod } from "./pod.ts";
import type { RemoteSocket } from "./remote-socket.ts";

/** SYNs that arrived for a connection which had not ended: what a meeting of ports is to the kernel. */
export function meetings(pod: Pod): number {
  return pod.namespace.counter("TcpExt", "TCPSYNChallenge");
}

/** Connections that are answered and stay. */
export async function hold(client: Host, address: string, port: number, count: number): Promise<RemoteSocket[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = await (await client.socket()).connect(address, port);
      await socket.send("x");
      assert.equal(await socket.receive(1), "x");
      return socket;
    }),
  );
}
