// An endpoint as one worker knows it: its open connections, and whether connecting to it works.
//
//   healthy ── a connect fails ──> ejected until t ── t is over ──> one probe: the next connection that is sent to it
//      ^                              ^   └── a connect succeeds (all were ejected, so it was tried) ──> healthy
//      │                              └── it fails: t is twice as far ──┤
//      └───────────────────────── it succeeds ─────────────────────────┘
//
// One that fails again soon after it succeeded goes on as if it had not: what accepts every connection and ends it at once
// is not probed each second.
// The first failure ejects: the connection itself is saved by another endpoint, and a wrong suspicion costs a second.

import type { IpAddress } from "./address.ts";
import type { Protocol } from "./protocol.ts";
import type { Workload } from "./snapshot.ts";

/** A workload's address:port. One object however many services it is behind: its load and its health are theirs together. */
export interface Endpoint {
  workload: Workload;
  readonly address: IpAddress;
  readonly port: number;
  /** `namespace/name` of the workload. */
  readonly label: string;
  /** Declared by all services that it is behind. */
  protocol: Protocol | undefined;
  /** Of this worker; whoever opens and closes connections counts them. */
  openConnections: number;
  /** 0: healthy. Of the caller's clock. */
  ejectedUntilMs: number;
  /** How often it was ejected since it was last healthy for long enough. */
  ejections: number;
  /** When it was last found to be. */
  healthySinceMs: number;
  isProbed: boolean;
}

const firstEjectionMs = 1_000;
/** A recovered endpoint waits no longer than this (and its jitter). One that is healthy for so long is as new. */
const longestEjectionMs = 30_000;

export function newEndpoint(workload: Workload, address: IpAddress, port: number, label: string): Endpoint {
  return {
    workload,
    address,
    port,
    label,
    protocol: undefined,
    openConnections: 0,
    ejectedUntilMs: 0,
    ejections: 0,
    healthySinceMs: Number.NEGATIVE_INFINITY,
    isProbed: false,
  };
}

/** Whether a connection may be sent to it: it is healthy, or a probe is due. */
export function isAvailable(endpoint: Endpoint, nowMs: number): boolean {
  return endpoint.ejectedUntilMs === 0 || (nowMs >= endpoint.ejectedUntilMs && !endpoint.isProbed);
}

/** To be called when connecting begins. Whether this connection is a probe. */
export function connectBegan(endpoint: Endpoint, nowMs: number): boolean {
  endpoint.openConnections++;
  if (endpoint.ejectedUntilMs === 0 || nowMs < endpoint.ejectedUntilMs || endpoint.isProbed) return false;
  endpoint.isProbed = true;
  return true;
}

/** Whether it had been ejected. */
export function connectSucceeded(endpoint: Endpoint, nowMs: number): boolean {
  if (endpoint.ejectedUntilMs === 0) return false;
  endpoint.ejectedUntilMs = 0;
  endpoint.healthySinceMs = nowMs;
  endpoint.isProbed = false;
  return true;
}

/**
 * For how many ms it is ejected by this failure; 0: it was already. Workers and nodes must not probe in step: up to half as
 * long again, at random.
 */
export function connectFailed(endpoint: Endpoint, wasProbe: boolean, nowMs: number, random: () => number): number {
  const isEjected = endpoint.ejectedUntilMs !== 0;
  if (isEjected && !wasProbe) return 0;
  if (!isEjected && nowMs - endpoint.healthySinceMs >= longestEjectionMs) endpoint.ejections = 0;
  const base = Math.min(firstEjectionMs * 2 ** endpoint.ejections, longestEjectionMs);
  const ejectedMs = Math.round(base * (1 + random() / 2));
  endpoint.ejections++;
  endpoint.isProbed = false;
  endpoint.ejectedUntilMs = nowMs + ejectedMs;
  return ejectedMs;
}

/** The client went before it was decided: the next connection is the probe. */
export function probeAbandoned(endpoint: Endpoint): void {
  endpoint.isProbed = false;
}
