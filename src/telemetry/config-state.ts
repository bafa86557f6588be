// How the configuration in force stands to the one that was last offered.

export interface ConfigState {
  /** Reloads that came into force, and offers that were refused. */
  readonly applied: number;
  readonly refused: number;
  readonly appliedAtMs: number;
  /** Since when the file says something that could not be taken over; undefined: it does not. */
  readonly staleSinceMs: number | undefined;
  /** Why it is stale. */
  readonly reason: string;
}

/** A line for /ready. undefined: nothing is to be said. */
export function describeStaleness({ staleSinceMs, reason }: ConfigState): string | undefined {
  if (staleSinceMs === undefined) return undefined;
  return `configuration is stale since ${new Date(staleSinceMs).toISOString()}: ${reason}`;
}
