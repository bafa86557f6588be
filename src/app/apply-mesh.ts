// A configuration comes into force in the order that leaves no gap:
//
//   workers know what is new ── the hooks send it to them, and no longer what is gone ── pods are withdrawn, changed, enrolled
//      ── what the hooks had still sent has arrived ── workers forget what is gone

import { setTimeout as delay } from "node:timers/promises";
import type { LoadedMesh } from "../discovery/file-source.ts";
import type { Capture } from "../kernel/capture.ts";
import { changeOf } from "../mesh/mesh-delta.ts";
import { changeKernelMesh, setKernelMesh } from "./kernel-mesh.ts";
import { handshakeGraceMs } from "./pods.ts";
import type { Presence } from "./presence.ts";
import type { WorkerPool } from "./worker-pool.ts";

export interface Applied {
  readonly workers: WorkerPool;
  readonly capture: Capture;
  readonly presence: Presence;
}

/** For the start: the pods are not yet enrolled. */
export async function applyFirst(loaded: LoadedMesh, capture: Capture, workers: WorkerPool): Promise<void> {
  setKernelMesh(loaded, capture.interest);
  await workers.applyMesh(changeOf(undefined, loaded.snapshot).additions);
}

/** Rejects with `before` in force again when `next` does not fit into the kernel's maps. */
export async function applyMesh(
  { workers, capture, presence }: Applied,
  next: LoadedMesh,
  before: LoadedMesh,
): Promise<Presence["counts"]> {
  const { additions, removals } = changeOf(before.snapshot, next.snapshot);
  await workers.applyMesh(additions);
  try {
    changeKernelMesh(before, next, capture.interest);
  } catch (error) {
    setKernelMesh(before, capture.interest);
    const back = changeOf(next.snapshot, before.snapshot);
    await workers.applyMesh([...back.additions, ...back.removals]);
    throw error;
  }
  capture.rules.setUnknown(next.node.unknownPods);
  await presence.reconcile(next);
  if (removals.length > 0) {
    await delay(handshakeGraceMs);
    await workers.applyMesh(removals);
  }
  workers.tell({ type: "connectTimeout", milliseconds: next.node.connectTimeoutMs });
  return presence.counts;
}
