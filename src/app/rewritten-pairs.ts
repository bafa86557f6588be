// Pairs of this node's pods between which the network rewrites sources (proxy/same-node.ts), as the node knows them: each is
// said once, whichever workers come upon it, and counted while both pods are enrolled.

import type { IpFamily } from "../mesh/address.ts";
import type { Logger } from "../telemetry/log.ts";

/** Pods by their pod_id. */
export interface RewrittenPair {
  readonly clientId: number;
  readonly serverId: number;
  readonly family: IpFamily;
}

export class RewrittenPairs {
  readonly #log: Logger;
  readonly #pairs: Map<string, RewrittenPair>;

  constructor(log: Logger) {
    this.#log = log;
    this.#pairs = new Map();
  }

  count(family: IpFamily): number {
    return [...this.#pairs.values()].filter((pair) => pair.family === family).length;
  }

  /** `nameOf` a pod that is enrolled. */
  add(pair: RewrittenPair, nameOf: (podId: number) => string | undefined): void {
    const { clientId, serverId, family } = pair;
    const key = `${clientId} ${serverId} ${family}`;
    const [client, server] = [nameOf(clientId), nameOf(serverId)];
    // A pod that is being withdrawn lets nothing pass any more: what was seen of it means nothing.
    if (client === undefined || server === undefined || this.#pairs.has(key)) return;
    this.#pairs.set(key, pair);
    this.#log.warn(
      { client, server, family: `IPv${family}` },
      "NetworkPolicy is not applied between these pods: the network between them rewrites the source of connections, so they are made in the server's namespace, from its own address",
    );
  }

  /** Of a pod that is withdrawn. */
  forget(podId: number): void {
    for (const [key, { clientId, serverId }] of this.#pairs) {
      if (clientId === podId || serverId === podId) this.#pairs.delete(key);
    }
  }
}
