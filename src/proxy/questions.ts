// What the main thread may ask a worker while that works (answer.ts), and what it is told.

import type { SocketWords } from "../runtime/connection.ts";
import type { Direction } from "../telemetry/counters.ts";
import type { OpenConnection, RouteState } from "../telemetry/reports.ts";

/** What is given must agree. */
export interface ConnectionFilter {
  readonly direction?: Direction | undefined;
  /** `namespace/name` of the captured pod. */
  readonly pod?: string | undefined;
  /** `namespace/name`, with or without `:port`. */
  readonly service?: string | undefined;
  /** Part of the source's, the destination's or the endpoint's text. */
  readonly text?: string | undefined;
}

export type Question =
  | { readonly about: "connections"; readonly filter: ConnectionFilter; readonly limit: number }
  | { readonly about: "routes"; readonly destinations: readonly RouteQuestion[] };

export interface RouteQuestion {
  readonly destination: SocketWords;
  /** Whose connection it is; undefined: anybody's. */
  readonly client: SocketWords | undefined;
}

/** An answer comes in parts, none of which takes long to make or to hand over. */
export interface Parts {
  /** `open`: of the first part; the others have 0. */
  connections: { readonly open: number; readonly matching: number; readonly connections: readonly OpenConnection[] };
  /** `destination`: index into the question's. A service with many endpoints has several parts, at least one. */
  routes: { readonly destination: number; readonly route: RouteState };
}
export type Part = Parts[Question["about"]];
