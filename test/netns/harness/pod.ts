// A pod: a host with a record in mesh.yaml. Enrolled unless said otherwise.

import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { type Addresses, Host, type Site } from "./host.ts";

export interface OptOut {
  readonly ports?: readonly (number | string)[];
  readonly cidr?: string;
}

export interface PodOptions {
  /** Default: both. */
  readonly families?: readonly (4 | 6)[];
  /** Default true. Otherwise the mesh knows the pod's addresses but does not capture its traffic; nor, if "unknown", its namespace. */
  readonly enrolled?: boolean | "unknown";
  /** Its namespace is made by `make`, and has its path from `announce` on. */
  readonly isLate?: boolean;
  /** mesh.yaml says its cgroup, without which it counts as gone. */
  readonly namesCgroup?: boolean;
  readonly probePorts?: readonly number[];
  /** In mesh.yaml, after its own. */
  readonly moreAddresses?: readonly string[];
  /** In mesh.yaml, instead of its own namespace. */
  readonly netns?: string;
  readonly outboundOptOut?: readonly OptOut[];
  readonly inboundOptOut?: readonly OptOut[];
  /** `whenProxyDown` of both directions. Default: pass. */
  readonly whenProxyDown?: "pass" | "deny";
  /** Further keys of its record in mesh.yaml. */
  readonly record?: Readonly<Record<string, unknown>>;
}

export class Pod extends Host {
  /** The name of its node. */
  readonly node: string;
  /** Changes come into force with `MeshNode.reload`. */
  options: PodOptions;
  readonly #latePath: string | undefined;

  constructor(name: string, node: string, addresses: Addresses, cgroup: string, site: Site, options: PodOptions) {
    super(name, addresses, cgroup, site);
    this.node = node;
    this.options = options;
    this.isHeldBack = options.isLate ?? false;
    this.#latePath = options.isLate ? join(site.makeDirectory("netns"), name) : undefined;
  }

  /** As mesh.yaml has it. */
  get netnsPath(): string {
    return this.#latePath ?? this.namespace.path;
  }

  /** Makes the namespace of a late pod. */
  async make(): Promise<void> {
    this.isHeldBack = false;
    await this.site.up();
  }

  /** Makes the path of a late pod's namespace. */
  announce(): void {
    symlinkSync(this.namespace.path, this.netnsPath);
  }
}
