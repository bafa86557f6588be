// A pod: a host with a record in mesh.yaml. Enrolled unless said otherwise.

import { type Addresses, Host, type Site } from "./host.ts";

export interface OptOut {
  readonly ports?: readonly (number | string)[];
  readonly cidr?: string;
}

export interface PodOptions {
  /** Default: both. */
  readonly families?: readonly (4 | 6)[];
  /** Default true. Otherwise the mesh knows the pod's addresses but does not capture its traffic. */
  readonly enrolled?: boolean;
  readonly outboundOptOut?: readonly OptOut[];
  readonly inboundOptOut?: readonly OptOut[];
  /** `whenProxyDown` of both directions. Default: pass. */
  readonly whenProxyDown?: "pass" | "deny";
}

export class Pod extends Host {
  readonly options: PodOptions;

  constructor(name: string, addresses: Addresses, cgroup: string, site: Site, options: PodOptions) {
    super(name, addresses, cgroup, site);
    this.options = options;
  }
}
