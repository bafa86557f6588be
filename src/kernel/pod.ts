// A pod as its capture is asked for, and as it is prepared.

import type { IpAddress } from "../mesh/address.ts";
import type { Fd, NetnsCookie } from "../runtime/native.ts";
import { layout, type OptOutRule } from "./layout.ts";
import { type OptOut, optOutRules } from "./opt-out.ts";
import type { PodListener } from "./pod-listeners.ts";

export interface PodRequest {
  readonly name: string;
  /** `/run/netns/<name>` or `/proc/<pid>/ns/net`. */
  readonly netnsPath: string;
  readonly addresses: readonly IpAddress[];
  readonly outboundOptOuts: readonly OptOut[];
  readonly inboundOptOuts: readonly OptOut[];
  /** Whether what the proxy cannot take fails (outbound EPERM, inbound a reset) instead of passing. Default: it passes. */
  readonly outboundStrict?: boolean;
  readonly inboundStrict?: boolean;
  /** Ports on which this node may probe the pod where the kubelet's cgroup cannot tell its probes. */
  readonly probePorts?: readonly number[];
  /** Whether outbound connections to what is not the mesh's are captured too. */
  readonly observesEgress?: boolean;
}

/** Descriptors stay CapturedPods' own: `release` closes them. */
export interface PreparedPod {
  /** The pod_id of original-destination records. */
  readonly id: number;
  readonly name: string;
  readonly netns: Fd;
  readonly cookie: NetnsCookie;
  readonly listeners: readonly PodListener[];
  /** Why connections inside this pod cannot be made under their clients' addresses; undefined: they can. */
  readonly sourceProblem: string | undefined;
}

/** By what the programs judge a pod's connections. */
export interface PodRules {
  readonly addresses: readonly IpAddress[];
  /** POD_* of bpf/structs.h. */
  readonly flags: number;
  readonly optOuts: readonly OptOutRule[];
  readonly probePorts: readonly number[];
}

/** Throws when they do not fit into the maps. */
export function podRules(request: PodRequest, hasIpv6: boolean): PodRules {
  return {
    addresses: request.addresses.filter(({ family }) => family === 4 || hasIpv6),
    flags:
      (request.outboundStrict ? layout.POD_STRICT_OUTBOUND : 0) |
      (request.inboundStrict ? layout.POD_STRICT_INBOUND : 0) |
      (request.observesEgress ? layout.POD_OBSERVES_EGRESS : 0),
    optOuts: optOutRules(request.name, request.outboundOptOuts, request.inboundOptOuts),
    probePorts: request.probePorts ?? [],
  };
}

/** The rules of a pod that nobody serves: what is strict of it fails, the rest passes. */
export function sealed(rules: PodRules): PodRules {
  return { ...rules, flags: rules.flags | layout.POD_SEALED };
}

export function isStrict(flags: number): boolean {
  return (flags & (layout.POD_STRICT_OUTBOUND | layout.POD_STRICT_INBOUND)) !== 0;
}
