// What mesh.yaml says about this node, checked and with defaults filled in.

import type { Cidr, IpAddress } from "../mesh/address.ts";

export interface NodeConfig {
  readonly name: string;
  readonly cgroups: {
    /** The cgroup above all pods; its processes' connections are looked at. */
    readonly pods: string;
    /** undefined: the default, `culvert-<name>` in the root of cgroup v2. */
    readonly proxy: string | undefined;
    /** Of whoever probes the pods of this node; its connections to them are not captured. */
    readonly kubelet: string | undefined;
  };
  /** What namespaces may do that are neither an enrolled pod's nor known to be outside the mesh. */
  readonly unknownPods: "pass" | "deny";
  /** Paths of namespaces that are known to be outside the mesh. */
  readonly plainNamespaces: readonly string[];
  /** undefined: the default, min(4, CPUs). */
  readonly workers: number | undefined;
  /** Host bits are clear. At most 16: what fits into the BPF map. */
  readonly podCidrs: readonly Cidr[];
  readonly admin: {
    readonly socket: string;
    readonly address: { readonly host: string; readonly port: number } | undefined;
  };
  readonly drainTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** How long a connection's first bytes are waited for before it is opaque. */
  readonly detectTimeoutMs: number;
  /** How long a peer may acknowledge nothing before its connection is given up. */
  readonly peerTimeoutMs: number;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  /** The directory of the bpf file system in which this node's BPF objects outlive the process. */
  readonly pins: string;
}

/** What the mesh file says of a node; this node's own interfaces need not be named. */
export interface DeclaredNode {
  readonly name: string;
  readonly addresses: readonly IpAddress[];
  readonly zone: string | undefined;
}

/** Connections that are not captured: those to (outbound) or from (inbound) an address, and to one of the ports. */
export interface OptOut {
  /** Host bits are clear. undefined: all addresses. */
  readonly address: Cidr | undefined;
  /** Inclusive. Empty: all ports. */
  readonly ports: readonly { readonly from: number; readonly to: number }[];
}

/** A workload of this node that is to be enrolled. */
export interface LocalPod {
  /** `namespace/name` */
  readonly name: string;
  readonly netnsPath: string;
  readonly addresses: readonly IpAddress[];
  readonly outboundOptOuts: readonly OptOut[];
  readonly inboundOptOuts: readonly OptOut[];
  /** Whether connections that the proxy cannot take fail instead of passing unproxied. */
  readonly outboundStrict: boolean;
  readonly inboundStrict: boolean;
  /** Whether connections to what is not the mesh's are captured too. */
  readonly observesEgress: boolean;
  /** Probed by this node on these ports. */
  readonly probePorts: readonly number[];
  /** The pod counts as gone when this directory is. */
  readonly cgroupPath: string | undefined;
}
