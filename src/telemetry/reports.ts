// What the admin socket says, as JSON, and the commands show: the words of `-o json`. Fields are added, never renamed.

import type { ConnectionRecord } from "./access-log.ts";
import type { Direction, Flow } from "./counters.ts";
import type { NodeEvent } from "./event-ring.ts";

export interface StatusReport {
  readonly node: string;
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  /** `live`: false when a restart is needed. The reasons say why not; empty otherwise. */
  readonly ready: boolean;
  readonly notReadyBecause: string;
  /** What else is to be known, such as a configuration that could not be taken over; empty if nothing. */
  readonly note: string;
  readonly live: boolean;
  readonly notLiveBecause: string;
  readonly mesh: {
    readonly file: string;
    readonly version: number;
    readonly workloads: number;
    readonly services: number;
  };
  readonly pods: { readonly enrolled: number; readonly notEnrolled: number };
  readonly workers: readonly WorkerReport[];
  readonly connections: {
    readonly open: Readonly<Record<Direction, number>>;
    readonly opened: Readonly<Record<Direction, number>>;
    readonly bytes: Readonly<Record<Direction, Readonly<Record<Flow, number>>>>;
  };
  readonly descriptors: { readonly open: number; readonly limit: number };
  readonly logLevel: string;
}

export interface WorkerReport {
  readonly worker: number;
  /** Since its loop last said that it runs; null: never. */
  readonly heartbeatAgeMs: number | null;
  /** It is given no connections. */
  readonly isStale: boolean;
  readonly openSockets: number;
  readonly blocksInUse: number;
}

/** A connection as it is now. */
export interface OpenConnection extends Omit<ConnectionRecord, "result" | "error" | "protocolBy"> {
  /** undefined: it is not known yet. */
  readonly protocolBy: ConnectionRecord["protocolBy"] | undefined;
  readonly state: "connecting" | "open" | "half-closed";
}

export interface ConnectionsReport {
  readonly connections: readonly (OpenConnection & { readonly worker: number })[];
  /** That agree with the filter, shown or not. */
  readonly matching: number;
  readonly open: number;
  readonly silentWorkers: readonly number[];
}

export interface PodReport {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly netns: string;
  /** waiting: its namespace is not there yet, or no more. */
  readonly state: "enrolled" | "waiting" | "refused";
  /** Of a pod that was refused. */
  readonly because: string;
  readonly whenProxyDown: Readonly<Record<Direction, "pass" | "deny">>;
  readonly optOuts: number;
}

export interface EndpointState {
  /** `namespace/name` of the workload. */
  readonly name: string;
  readonly address: string;
  readonly node: string;
  readonly transport: ConnectionRecord["transport"];
  /** Whether a new connection may go there. */
  readonly isEligible: boolean;
  /** Why it may, or may not. */
  readonly why: string;
  /** Those that this node's workers have open to it. */
  readonly openConnections: number;
}

export interface ServiceReport {
  /** `namespace/name` */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly ports: readonly {
    readonly port: number;
    /** Or the name that the workloads have for it. */
    readonly targetPort: number | string;
    readonly endpoints: readonly EndpointState[];
  }[];
}

export interface ServicesReport {
  readonly services: readonly ServiceReport[];
  /** That there are, shown or not. */
  readonly matching: number;
}

/** captured: the proxy carries it. passed: it goes its way without. denied, refused: the connect fails. */
export type Outcome = "captured" | "passed" | "denied" | "refused";

export interface JudgementReport {
  readonly outcome: Outcome;
  /** A reason of culvert_capture_total. */
  readonly reason: string;
  readonly meaning: string;
}

export interface RouteState {
  readonly to: "service" | "workload" | "unknown";
  /** `namespace/name:port` of the service or `namespace/name` of the workload. */
  readonly name: string | undefined;
  readonly transport: ConnectionRecord["transport"] | undefined;
  /** How one of the eligible endpoints is chosen; undefined: there is nothing to choose. */
  readonly balancing: "any" | "nearest" | "affinity" | undefined;
  /** Of a service. */
  readonly endpoints: readonly EndpointState[];
}

export interface WhyReport {
  /** `namespace/name` */
  readonly workload: string;
  readonly enrolled: boolean;
  /** One per address of the destination. */
  readonly connections: readonly WhyConnection[];
}

export interface WhyConnection {
  readonly destination: string;
  /** What that address is to the mesh. */
  readonly what: string;
  /** The connect hook's. */
  readonly connect: JudgementReport;
  /** What the proxy does with it, if it is captured. */
  readonly route: RouteState | undefined;
  /** At the pod of this node that it then arrives at, past the proxy; undefined: at none. */
  readonly arrival: (JudgementReport & { readonly pod: string }) | undefined;
  /** What becomes of it in the end. */
  readonly outcome: Outcome;
}

/** For shell completion. */
export interface NamesReport {
  /** Of this node: `namespace/name`. */
  readonly workloads: readonly string[];
  readonly services: readonly string[];
  /** `namespace/name:port` of every service's ports. */
  readonly destinations: readonly string[];
}

export interface EventsReport {
  readonly events: readonly NodeEvent[];
}

export interface LogLevelReport {
  readonly level: string;
}

/** What `culvert check` found. */
export interface Finding {
  readonly check: string;
  readonly state: "ok" | "warning" | "fault";
  /** What is so. */
  readonly message: string;
  /** What to do about it; empty if nothing. */
  readonly fix: string;
}
