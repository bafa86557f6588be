// What comes and goes on this node while Culvert runs, and what is done about it: pods, namespaces outside the mesh,
// namespaces that nothing is known of, the kubelet's cgroup, the node's own addresses.

import type { LocalPod, NodeConfig } from "../discovery/node-config.ts";
import type { Capture } from "../kernel/capture.ts";
import { NamespaceWatches } from "../kernel/namespace-watches.ts";
import { NodeAddresses } from "../kernel/node-addresses.ts";
import { PathWatches } from "../kernel/path-watches.ts";
import type { IpAddress } from "../mesh/address.ts";
import type { NetnsCookie } from "../runtime/native.ts";
import type { Logger } from "../telemetry/log.ts";
import type { PresenceSources } from "../telemetry/presence-metrics.ts";
import { KubeletWatch } from "./kubelet-watch.ts";
import { LocalPods } from "./local-pods.ts";
import type { Pods } from "./pods.ts";
import { UnknownPods } from "./unknown-pods.ts";

export interface PresenceOptions {
  readonly node: NodeConfig;
  readonly capture: Capture;
  readonly pods: Pods;
  readonly log: Logger;
  /** Called with all addresses of the node: at the start, before any pod is enrolled, and when one comes or goes. */
  readonly onNodeAddresses: (addresses: readonly IpAddress[]) => void;
}

/** What the configuration says of this node's namespaces. */
export interface LocalNamespaces {
  readonly pods: readonly LocalPod[];
  /** Paths of those that the mesh has no part in. */
  readonly plainNamespaces: readonly string[];
}

export class Presence implements AsyncDisposable {
  readonly localPods: LocalPods;
  readonly #capture: Capture;
  readonly #log: Logger;
  readonly #namespaces: NamespaceWatches;
  readonly #unknown: UnknownPods;
  readonly #watches: DisposableStack;
  /** By path; what forgets them. */
  readonly #plain: Map<string, () => Promise<void>>;

  private constructor({ node, capture, pods, log, onNodeAddresses }: PresenceOptions) {
    this.#capture = capture;
    this.#log = log;
    this.#watches = new DisposableStack();
    this.#plain = new Map();
    const paths = this.#watches.use(
      new PathWatches((err) => log.warn({ err }, "not all paths can be watched; they are looked at once a second")),
    );
    this.#namespaces = this.#watches.use(new NamespaceWatches(paths));
    this.localPods = new LocalPods(pods, this.#namespaces, log);
    this.#unknown = this.#watches.use(new UnknownPods(node.cgroups.pods, this.#namespaces, log));
    if (capture.probeExemption !== undefined) {
      this.#watches.use(new KubeletWatch(capture.probeExemption, paths, log));
    }
    onNodeAddresses(this.#watches.use(NodeAddresses.watch(onNodeAddresses)).current);
  }

  /** Resolves when every namespace that is there is dealt with. */
  static async start(options: PresenceOptions, namespaces: LocalNamespaces): Promise<Presence> {
    const presence = new Presence(options);
    await Promise.all(namespaces.plainNamespaces.map((path) => presence.#addPlain(path)));
    await Promise.all(namespaces.pods.map((pod) => presence.localPods.add(pod)));
    return presence;
  }

  /** Makes them exactly these. Resolves when every namespace that is there is dealt with. */
  async reconcile({ plainNamespaces, pods }: LocalNamespaces): Promise<void> {
    // Before a pod that becomes one is withdrawn: it must never be unknown.
    await Promise.all(plainNamespaces.map((path) => this.#addPlain(path)));
    await this.localPods.reconcile(pods);
    for (const [path, remove] of this.#plain) {
      if (plainNamespaces.includes(path)) continue;
      this.#plain.delete(path);
      await remove();
    }
  }

  get counts(): { readonly pods: number; readonly failed: number; readonly waiting: number } {
    const count = (state: Parameters<LocalPods["count"]>[0]) => this.localPods.count(state);
    return { pods: count("enrolled"), failed: count("refused"), waiting: count("waiting") };
  }

  async #addPlain(path: string): Promise<void> {
    if (this.#plain.has(path)) return;
    let cookie: NetnsCookie | undefined;
    const { rules } = this.#capture;
    const gone = async () => {
      if (cookie !== undefined) rules.removePlain(cookie);
      cookie = undefined;
    };
    const { settled, remove } = this.#namespaces.add(path, {
      appeared: async () => {
        try {
          cookie = this.#capture.cookies.at(path);
          rules.addPlain(cookie);
        } catch (err) {
          this.#log.warn({ netns: path, err }, "a namespace outside the mesh cannot be told from unknown ones");
        }
      },
      gone,
    });
    this.#plain.set(path, () => remove().then(gone));
    await settled;
  }

  get metrics(): PresenceSources {
    return {
      podsWaiting: () => this.localPods.count("waiting"),
      podsGone: () => this.localPods.gone,
      unknownNamespaces: () => this.#unknown.count,
      probeExemption: this.#capture.probeExemption,
    };
  }

  /** From here on nothing is enrolled or withdrawn any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.localPods.stop();
    this.#watches.dispose();
  }
}
