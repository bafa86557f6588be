// What changed between two snapshots. Workers get deltas: a whole mesh of 10,000 workloads would stop one for longer than a
// request may wait (figures config_*). A delta stands by itself: services call workloads by label, and a service is in it
// when anything about it or about a workload behind it changed.
// Removals go last, and apart: until the hooks know of them, connections to what is removed still come.

import { labelOf, type MeshSnapshot, type Service, type Workload } from "./snapshot.ts";

export interface MeshDelta {
  readonly version: number;
  readonly node: string;
  readonly zone: string | undefined;
  /** New or changed. */
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  /** Labels. */
  readonly removedWorkloads: readonly string[];
  readonly removedServices: readonly string[];
}

export interface MeshChange {
  /** To be applied in this order, workloads before the services that call them. */
  readonly additions: readonly MeshDelta[];
  readonly removals: readonly MeshDelta[];
}

/** Objects a delta: some 0.5 ms of a worker, a few before it is compiled (config_worker_stall_all_ms). */
const maxObjects = 64;

/** `previous` undefined: everything is new. */
export function changeOf(previous: MeshSnapshot | undefined, next: MeshSnapshot): MeshChange {
  const workloads = differences(previous?.workloads ?? [], next.workloads);
  const services = differences(previous?.services ?? [], next.services);
  const isElsewhere = previous?.node !== next.node || previous?.zone !== next.zone;
  const touched = new Set(workloads.changed.map(labelOf));
  const isChanged = new Set<Service>(services.changed);
  const affected = next.services.filter(
    (it) => isElsewhere || isChanged.has(it) || (touched.size > 0 && it.endpoints.some((label) => touched.has(label))),
  );
  const { version, node, zone } = next;
  const empty = { version, node, zone, workloads: [], services: [], removedWorkloads: [], removedServices: [] };
  const additions = [
    ...slices(workloads.changed).map((slice): MeshDelta => ({ ...empty, workloads: slice })),
    ...slices(affected).map((slice): MeshDelta => ({ ...empty, services: slice })),
  ];
  return {
    additions: additions.length > 0 ? additions : [empty],
    removals: [
      ...slices(services.removed).map((slice): MeshDelta => ({ ...empty, removedServices: slice })),
      ...slices(workloads.removed).map((slice): MeshDelta => ({ ...empty, removedWorkloads: slice })),
    ],
  };
}

function differences<T extends Workload | Service>(
  before: readonly T[],
  after: readonly T[],
): { changed: T[]; removed: string[] } {
  const only = unlike(before, after);
  const known = new Map(only.before.map((it) => [labelOf(it), it]));
  const changed: T[] = [];
  for (const it of only.after) {
    const label = labelOf(it);
    const former = known.get(label);
    known.delete(label);
    if (former === undefined || !isSame(former, it)) changed.push(it);
  }
  return { changed, removed: [...known.keys()] };
}

/**
 * The objects that are in one list only. Discovery yields the same object for what it did not read again, mostly at the same
 * place: all but a few are never put into a set.
 */
export function unlike<T extends object>(
  before: readonly T[],
  after: readonly T[],
): { readonly before: T[]; readonly after: T[] } {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let tail = 0;
  while (tail < shorter - start && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  const isAtItsPlace = (it: T, i: number) => it === before[start + i] && it === after[start + i];
  const [old, now] = [before, after].map((list) =>
    list.slice(start, list.length - tail).filter((it, i) => !isAtItsPlace(it, i)),
  ) as [T[], T[]];
  const [wereThere, areThere] = [new Set(old), new Set(now)];
  return { before: old.filter((it) => !areThere.has(it)), after: now.filter((it) => !wereThere.has(it)) };
}

/** Of plain data. What was not read again is the same object. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => isSame((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
  );
}

function slices<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / maxObjects) }, (_, i) =>
    all.slice(i * maxObjects, (i + 1) * maxObjects),
  );
}
