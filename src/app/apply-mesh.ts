// A configuration comes into force in the order that leaves no gap:
//
//   workers know what is new ── the hooks send it to them, and no longer what is gone ── pods are withdrawn, changed, enrolled
//      ── what the hooks had still sent has arrived ── workers forget what is gone

import { setTimeout as delay } from "node:timers/promises";
import type { LoadedMesh } from "../discovery/file-source.ts";
import type { Capture } from "../kernel/capture.ts";
import { changeOf } from "../mesh/mesh-delta.ts";
import { ineligibility, labelOf, type MeshSnapshot } from "../mesh/snapshot.ts";
import { handshakeGraceMs } from "./pods.ts";
import type { Presence } from "./presence.ts";
import type { WorkerPool } from "./worker-pool.ts";

export interface Applied {
  readonly workers: WorkerPool;
  readonly capture: Capture;
  readonly presence: Presence;
}

/** For the start: the pods are not yet enrolled. */
export async function applyFirst({ node, snapshot }: LoadedMesh, capture: Capture, workers: WorkerPool): Promise<void> {
  setKernelMaps(snapshot, node.podCidrs, capture);
  await workers.applyMesh(changeOf(undefined, snapshot).additions);
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
    setKernelMaps(next.snapshot, next.node.podCidrs, capture);
  } catch (error) {
    setKernelMaps(before.snapshot, before.node.podCidrs, capture);
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

function setKernelMaps(snapshot: MeshSnapshot, podCidrs: LoadedMesh["node"]["podCidrs"], capture: Capture): void {
  const { workloads, services } = snapshot;
  capture.setDestinations(
    [...workloads, ...services].flatMap((each) => each.addresses),
    podCidrs,
  );
  capture.setRefused(portsWithoutEndpoint(snapshot));
}

/** Ports of services that no workload stands behind that is ready: the hook refuses what is dialled there. */
function portsWithoutEndpoint({ workloads, services }: MeshSnapshot) {
  const byLabel = new Map(workloads.map((it) => [labelOf(it), it]));
  return services.flatMap((service) => {
    const behind = service.endpoints.map((label) => byLabel.get(label)!);
    return service.ports
      .filter((port) => behind.every((it) => ineligibility(it, service, port) !== undefined))
      .flatMap(({ port }) => service.addresses.map((address) => ({ address, port })));
  });
}
