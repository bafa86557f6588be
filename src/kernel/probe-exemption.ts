// Probes of this node's pods reach the application and not the proxy: by a program on the cgroup of whoever makes them (the
// kubelet). When the kubelet stops that cgroup is removed, and what was attached to it is dead (the link's target is 0),
// also when one of the same name is made again. While nothing is attached, probes are told by address and port instead.

import { type Fd, type NativeError, native } from "../runtime/native.ts";
import type { KernelObjects } from "./kernel-objects.ts";
import { inodeAt } from "./namespace-watches.ts";
import type { NodeRules } from "./node-rules.ts";

export type ExemptionChange = "attached" | "attached again" | "defunct";

export class ProbeExemption {
  readonly cgroup: string;
  readonly #objects: KernelObjects;
  readonly #rules: NodeRules;
  #link: Fd | undefined;
  #attachments: number;

  constructor(cgroup: string, objects: KernelObjects, rules: NodeRules) {
    this.cgroup = cgroup;
    this.#objects = objects;
    this.#rules = rules;
    this.#link = undefined;
    this.#attachments = 0;
    this.#rules.passProbesByAddress(true);
  }

  get isAttached(): boolean {
    return this.#link !== undefined;
  }

  /** How often it was attached. */
  get attachments(): number {
    return this.#attachments;
  }

  /** Makes what is attached right for the cgroup that is there now, and answers what changed, in that order. */
  check(): ExemptionChange[] {
    const changes: ExemptionChange[] = [];
    // A cgroup's id is its directory's inode number.
    const wanted = inodeAt(this.cgroup);
    if (this.#link !== undefined) {
      if (native.bpf("linkInfo", { link: this.#link }).target === wanted) return changes;
      this.#rules.passProbesByAddress(true);
      this.#objects.detachCgroup("culvert_probe_exemption", "kubelet", this.#link);
      this.#link = undefined;
      changes.push("defunct");
    }
    if (wanted === undefined) return changes;
    try {
      this.#link = this.#objects.attachCgroup("culvert_probe_exemption", "kubelet", this.cgroup);
    } catch (error) {
      const { errno } = error as NativeError;
      if (errno === "ENOENT" || errno === "ENODEV") return changes; // Gone meanwhile.
      throw error;
    }
    this.#rules.passProbesByAddress(false);
    this.#attachments++;
    changes.push(this.#attachments === 1 ? "attached" : "attached again");
    return changes;
  }
}
