// What the hooks know of the mesh: the addresses of workloads and services, the pod CIDRs, and the ports of services behind
// which nobody is ready. Whole at the start, later by what changed: of a large mesh the maps alone would take longer than a
// change may.

import type { LoadedMesh } from "../discovery/file-source.ts";
import type { MeshInterest } from "../kernel/mesh-interest.ts";
import { formatSocketAddress, type IpAddress } from "../mesh/address.ts";
import { ineligibility, labelOf, type MeshSnapshot, type Service, type Workload } from "../mesh/snapshot.ts";

interface Place {
  readonly address: IpAddress;
  readonly port: number;
}

export function setKernelMesh({ node, snapshot }: LoadedMesh, interest: MeshInterest): void {
  const { workloads, services } = snapshot;
  interest.setDestinations(
    [...workloads, ...services].flatMap((each) => each.addresses),
    node.podCidrs,
  );
  interest.setRefused(refusedPlaces(services, snapshot));
}

/** Throws, with nothing but additions made, when the maps are full. */
export function changeKernelMesh(before: LoadedMesh, next: LoadedMesh, interest: MeshInterest): void {
  const [old, now] = [objectsOf(before.snapshot), objectsOf(next.snapshot)];
  const placesOf = (objects: Iterable<Workload | Service>, others: ReadonlySet<object>) =>
    keyed([...objects].flatMap((it) => (others.has(it) ? [] : it.addresses.map((address) => ({ address, port: 0 })))));
  const addresses = { before: placesOf(old, now), after: placesOf(now, old) };
  interest.changeDestinations(
    without(addresses.after, addresses.before).map(({ address }) => address),
    without(addresses.before, addresses.after).map(({ address }) => address),
    next.node.podCidrs,
  );
  const refused = {
    before: keyed(refusedPlaces(affected(before.snapshot, old, next.snapshot, now), before.snapshot)),
    after: keyed(refusedPlaces(affected(next.snapshot, now, before.snapshot, old), next.snapshot)),
  };
  interest.changeRefused(without(refused.after, refused.before), without(refused.before, refused.after));
}

/** What discovery did not read again is the same object in both. */
function objectsOf({ workloads, services }: MeshSnapshot): Set<Workload | Service> {
  return new Set([...workloads, ...services]);
}

/** Services that are not the same in the other snapshot, or that a workload is behind which is not. */
function affected(
  of: MeshSnapshot,
  own: ReadonlySet<object>,
  other: MeshSnapshot,
  others: ReadonlySet<object>,
): Service[] {
  const changed = new Set([
    ...of.workloads.filter((it) => !others.has(it)).map(labelOf),
    ...other.workloads.filter((it) => !own.has(it)).map(labelOf),
  ]);
  return of.services.filter(
    (it) => !others.has(it) || (changed.size > 0 && it.endpoints.some((label) => changed.has(label))),
  );
}

/** Ports of services that no workload stands behind that is ready: the hook refuses what is dialled there. */
function refusedPlaces(services: readonly Service[], { workloads }: MeshSnapshot): Place[] {
  if (services.length === 0) return [];
  const byLabel = new Map(workloads.map((it) => [labelOf(it), it]));
  return services.flatMap((service) => {
    const behind = service.endpoints.map((label) => byLabel.get(label)!);
    return service.ports
      .filter((port) => behind.every((it) => ineligibility(it, service, port) !== undefined))
      .flatMap(({ port }) => service.addresses.map((address) => ({ address, port })));
  });
}

function keyed(places: readonly Place[]): Map<string, Place> {
  return new Map(places.map((it) => [formatSocketAddress(it.address, it.port), it]));
}

function without(places: ReadonlyMap<string, Place>, others: ReadonlyMap<string, Place>): Place[] {
  return [...places].flatMap(([key, place]) => (others.has(key) ? [] : place));
}
