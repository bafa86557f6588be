// Hot: runs per connection; nothing is allocated.
//
// Which source ports clients use now towards applications of this node: those that they chose themselves, and those that the
// proxy chose for connections it makes under their addresses. A port of the proxy that the client already uses towards the
// same destination would hit that connection's socket and hang. All workers share a pod's ports, so all count in one table:
//
//   slot = hash(client, port, destination) ── how many connections there now ──> claimed only when none is
//
// Two tuples may share a slot: then a free port counts as used, never the other way round.

import type { SocketWords } from "../runtime/connection.ts";

/** Below the ports that kernels choose for clients (32768–60999, the default); above those that services like to have. */
export const firstSourcePort = 10_240;
export const lastSourcePort = 32_767;
const portCount = lastSourcePort - firstSourcePort + 1;

/** 1 MiB: 60,000 connections fill an eighth. */
const slotCount = 2 ** 19;
/** Even with seven ports of eight in use, one in 5,000 claims finds none. */
const mostAttempts = 64;

/** For all workers of a process. */
export function createSourcePorts(): SharedArrayBuffer {
  return new SharedArrayBuffer(slotCount * Uint16Array.BYTES_PER_ELEMENT);
}

/** Whether the proxy could choose that port. */
export function isSourcePort(port: number): boolean {
  return port >= firstSourcePort && port <= lastSourcePort;
}

export class SourcePorts {
  readonly #slots: Uint16Array<SharedArrayBuffer>;
  readonly #random: () => number;

  /** `random` yields numbers in [0, 1). */
  constructor(shared: SharedArrayBuffer, random: () => number) {
    this.#slots = new Uint16Array(shared);
    this.#random = random;
  }

  /** A port that the client does not use towards the destination, claimed until `release`; 0 when none was found. */
  claim(client: SocketWords, destination: SocketWords): number {
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      // Drawn anew each time: steps from one to the next would run along those that others have stepped on.
      const port = firstSourcePort + Math.floor(this.#random() * portCount);
      const slot = slotOf(client, port, destination);
      if (Atomics.compareExchange(this.#slots, slot, 0, 1) === 0) return port;
    }
    return 0;
  }

  release(client: SocketWords, port: number, destination: SocketWords): void {
    Atomics.sub(this.#slots, slotOf(client, port, destination), 1);
  }

  /** The client itself uses that port, of the proxy's range, until `release`. */
  use(client: SocketWords, port: number, destination: SocketWords): void {
    Atomics.add(this.#slots, slotOf(client, port, destination), 1);
  }
}

function slotOf(client: SocketWords, port: number, destination: SocketWords): number {
  let h = Math.imul(client.w3 ^ Math.imul(port, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ client.w2 ^ (h >>> 15), 0xc2b2ae35);
  h = Math.imul(h ^ client.w1 ^ (h >>> 13), 0x85ebca6b);
  h = Math.imul(h ^ client.w0 ^ (h >>> 16), 0xc2b2ae35);
  h = Math.imul(h ^ destination.w3 ^ Math.imul(destination.port, 0x27d4eb2f) ^ (h >>> 15), 0x85ebca6b);
  h = Math.imul(h ^ destination.w2 ^ (h >>> 13), 0xc2b2ae35);
  h = Math.imul(h ^ destination.w1 ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ destination.w0 ^ (h >>> 15), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 13; // 19 bits
}
