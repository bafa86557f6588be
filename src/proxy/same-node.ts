// Where connections between two pods of this node are made. In the client's namespace, straight to the endpoint: one hop, and
// the server and the CNI's NetworkPolicy see the client's own address. sk_lookup in the endpoint's pod knows them by their
// tuple and lets them pass.
//
// Where the network in between rewrites sources, as some CNIs do, the tuple does not arrive, and the endpoint's pod captures the
// connection a second time. So the first connection of each pair of pods, and family, asks the kernel whether it was let pass:
//
//   unknown ── seen ──────> kept         nothing is asked any more
//      └────── not seen ──> rewritten    from now on: made in the endpoint's namespace, beyond what rewrites

import type { IpFamily } from "../mesh/address.ts";
import type { ProxiedPod } from "./proxied-pod.ts";

export interface PodPair {
  readonly client: ProxiedPod;
  readonly server: ProxiedPod;
  readonly family: IpFamily;
  sources: "unknown" | "kept" | "rewritten";
  /** One of the two was withdrawn: its namespace's descriptor is nobody's. */
  isOver: boolean;
}

export class SameNode {
  readonly #pods: Map<string, ProxiedPod>;
  readonly #pairs: Map<number, PodPair>;

  constructor() {
    this.#pods = new Map();
    this.#pairs = new Map();
  }

  /** Of a pod that is captured from now on: before, nothing there lets a tuple pass. */
  add(pod: ProxiedPod): void {
    this.#pods.set(pod.name, pod);
  }

  remove(pod: ProxiedPod): void {
    this.#pods.delete(pod.name);
    for (const [key, pair] of this.#pairs) {
      if (pair.client !== pod && pair.server !== pod) continue;
      pair.isOver = true;
      this.#pairs.delete(key);
    }
  }

  /** `server` is a workload's name. Undefined: not one of two captured pods, so there is nothing to ask. */
  pair(client: ProxiedPod, server: string, family: IpFamily): PodPair | undefined {
    const pod = this.#pods.get(server);
    if (pod === undefined || pod === client) return undefined;
    const key = (client.id * 65536 + pod.id) * 2 + (family === 6 ? 1 : 0);
    let pair = this.#pairs.get(key);
    if (pair === undefined) {
      pair = { client, server: pod, family, sources: "unknown", isOver: false };
      this.#pairs.set(key, pair);
    }
    return pair;
  }
}
