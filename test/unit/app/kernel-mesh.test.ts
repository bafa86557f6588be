// Changed step by step, what the hooks know of the mesh is what it is when it is set at once.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { changeKernelMesh, setKernelMesh } from "../../../src/app/kernel-mesh.ts";
import type { LoadedMesh } from "../../../src/discovery/file-source.ts";
import type { MeshInterest, RefusedEndpoint } from "../../../src/kernel/mesh-interest.ts";
import { formatAddress, formatSocketAddress, type IpAddress } from "../../../src/mesh/address.ts";
import type { MeshSnapshot } from "../../../src/mesh/snapshot.ts";
import { anyMesh } from "../mesh/arbitraries.ts";

/** What the maps would hold. */
class Held {
  readonly destinations = new Set<string>();
  readonly refused = new Set<string>();

  readonly interest = {
    setDestinations: (addresses: Iterable<IpAddress>) => {
      this.destinations.clear();
      for (const it of addresses) this.destinations.add(formatAddress(it));
    },
    changeDestinations: (added: Iterable<IpAddress>, removed: Iterable<IpAddress>) => {
      for (const it of added) this.destinations.add(formatAddress(it));
      for (const it of removed) this.destinations.delete(formatAddress(it));
    },
    setRefused: (places: Iterable<RefusedEndpoint>) => {
      this.refused.clear();
      for (const { address, port } of places) this.refused.add(formatSocketAddress(address, port));
    },
    changeRefused: (added: Iterable<RefusedEndpoint>, removed: Iterable<RefusedEndpoint>) => {
      for (const { address, port } of removed) this.refused.delete(formatSocketAddress(address, port));
      for (const { address, port } of added) this.refused.add(formatSocketAddress(address, port));
    },
  } as unknown as MeshInterest;

  get sorted(): string[][] {
    return [[...this.destinations].sort(), [...this.refused].sort()];
  }
}

/** Of what `next` has in common with `before`, the same objects, as discovery has it. */
function sharing(next: MeshSnapshot, before: MeshSnapshot): MeshSnapshot {
  const same = <T extends object>(all: readonly T[], former: readonly T[]) =>
    all.map((it) => former.find((old) => JSON.stringify(old) === JSON.stringify(it)) ?? it);
  return {
    ...next,
    workloads: same(next.workloads, before.workloads),
    services: same(next.services, before.services),
  };
}

test("the hooks know after each change what they would know of that mesh alone", () => {
  fc.assert(
    fc.property(fc.array(anyMesh, { minLength: 2, maxLength: 5 }), (snapshots) => {
      const held = new Held();
      const loaded = (it: MeshSnapshot) => ({ node: { podCidrs: [] }, snapshot: it }) as unknown as LoadedMesh;
      let before = snapshots[0]!;
      setKernelMesh(loaded(before), held.interest);
      for (const next of snapshots.slice(1)) {
        const now = sharing(next, before);
        changeKernelMesh(loaded(before), loaded(now), held.interest);
        const fresh = new Held();
        setKernelMesh(loaded(now), fresh.interest);
        assert.deepEqual(held.sorted, fresh.sorted);
        before = now;
      }
    }),
    { numRuns: 300 },
  );
});
