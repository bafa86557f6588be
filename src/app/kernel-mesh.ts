// What the hooks know of the mesh: the addresses of workloads and services, the pod CIDRs, and the ports of services behind
// which nobody is ready. Whole at the start, later by what changed: of a large mesh the maps alone would take longer than a
// change may.

import type { LoadedMesh } from "../discovery/file-source.ts";
import type { MeshInterest } from "../kernel/mesh-interest.ts";
import { formatSocketAddress, type IpAddress } from "../mesh/address.ts";
import { unlike } from "../mesh/mesh-delta.ts";
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
  const workloads = unlike(before.snapshot.workloads, next.snapshot.workloads);
  const services = unlike(before.snapshot.services, next.snapshot.services);
  const old = keyed(placesOf([...workloads.before, ...services.before]));
  const now = keyed(placesOf([...workloads.after, ...services.after]));
  interest.changeDestinations(
    without(now, old).map(({ address }) => address),
    without(old, now).map(({ address }) => address),
    next.node.podCidrs,
  );
  const changed = new Set([...workloads.before, ...workloads.after].map(labelOf));
  const refusedIn = (snapshot: MeshSnapshot, own: readonly Service[]) =>
    keyed(refusedPlaces(affected(snapshot.services, new Set(own), changed), snapshot));
  const refused = {
    before: refusedIn(before.snapshot, services.before),
    after: refusedIn(next.snapshot, services.after),
  };
  interest.changeRefused(without(refused.after, refused.before), without(refused.before, refused.after));
}

function placesOf(objects: readonly (Workload | Service)[]): Place[] {
  return objects.flatMap((it) => it.addresses.map((address) => ({ address, port: 0 })));
}

/** Those that are not the same in the other snapshot, or that a workload is behind which is not. */
function affected(
  services: readonly Service[],
  own: ReadonlySet<Service>,
  workloads: ReadonlySet<string>,
): readonly Service[] {
  if (own.size === 0 && workloads.size === 0) return [];
  return services.filter(
    (it) => own.has(it) || (workloads.size > 0 && it.endpoints.some((label) => workloads.has(label))),
  );
}

/** Ports of services that no workload stands behind that is ready: the hook refuses what is dialled there. */
function refusedPlaces(services: readonly Service[], { workloads }: MeshSnapshot): Place[] {
  const byLabel = labelled(workloads, new Set(services.flatMap(({ endpoints }) => endpoints)));
  return services.flatMap((service) => {
    const behind = service.endpoints.map((label) => byLabel.get(label)!);
    return service.ports
      .filter((port) => behind.every((it) => ineligibility(it, service, port) !== undefined))
      .flatMap(({ port }) => service.addresses.map((address) => ({ address, port })));
  });
}

/** Looks at names first: of a large mesh most labels are never made. */
function labelled(workloads: readonly Workload[], labels: ReadonlySet<string>): Map<string, Workload> {
  const names = new Set([...labels].map((it) => it.slice(it.indexOf("/") + 1)));
  return new Map(workloads.flatMap((it) => (names.has(it.name) ? [[labelOf(it), it] as const] : [])));
}

function keyed(places: readonly Place[]): Map<string, Place> {
  return new Map(places.map((it) => [formatSocketAddress(it.address, it.port), it]));
}

function without(places: ReadonlyMap<string, Place>, others: ReadonlyMap<string, Place>): Place[] {
  return [...places].flatMap(([key, place]) => (others.has(key) ? [] : place));
}
