import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatAddress } from "../../../src/mesh/address.ts";
import type { Endpoint } from "../../../src/mesh/endpoint.ts";
import { changeOf } from "../../../src/mesh/mesh-delta.ts";
import { MeshIndex } from "../../../src/mesh/mesh-index.ts";
import type { Protocol } from "../../../src/mesh/protocol.ts";
import type { MeshSnapshot, Service } from "../../../src/mesh/snapshot.ts";
import { anyMesh } from "./arbitraries.ts";
import { at, service, snapshot, workload } from "./fixtures.ts";

const words = (text: string) => at(text).words;

/** As a worker gets it: additions, then removals. */
function change(index: MeshIndex, before: MeshSnapshot, after: MeshSnapshot): void {
  const { additions, removals } = structuredClone(changeOf(before, after));
  for (const delta of [...additions, ...removals]) index.apply(delta);
}

const shown = (endpoints: readonly Endpoint[] | undefined) =>
  endpoints?.map((it) => `${it.label} ${formatAddress(it.address)} ${it.port}`);

describe("the mesh index", () => {
  const mesh = snapshot(
    [
      workload("web-1", ["10.0.0.2", "fd00::2"]),
      workload("web-2", ["fd00::3"]),
      workload("db", ["10.0.0.4"], { namespace: "data" }),
    ],
    [
      service("web", ["10.96.0.1", "fd00:96::1", "10.96.0.2"], ["web-1", "web-2", "data/db"]),
      service("none", ["10.96.0.3"], []),
    ],
  );
  const index = MeshIndex.of(structuredClone(mesh));

  test("finds a service by any of its addresses and its port", () => {
    assert.equal(index.serviceAt(...words("10.96.0.1"), 80)?.name, "default/web:80");
    assert.equal(index.serviceAt(...words("10.96.0.2"), 80)?.name, "default/web:80");
    assert.equal(index.serviceAt(...words("fd00:96::1"), 80)?.name, "default/web:80");
  });

  test("finds no service at another port, nor at a workload's address", () => {
    assert.equal(index.serviceAt(...words("10.96.0.1"), 81), undefined);
    assert.equal(index.serviceAt(...words("10.0.0.2"), 8080), undefined);
  });

  test("finds a workload by any of its addresses, and none at a service's", () => {
    assert.equal(index.workloadAt(...words("10.0.0.2"))?.name, "web-1");
    assert.equal(index.workloadAt(...words("fd00::2"))?.name, "web-1");
    assert.equal(index.workloadAt(...words("10.0.0.4"))?.namespace, "data");
    assert.equal(index.workloadAt(...words("10.96.0.1")), undefined);
  });

  test("gives endpoints the family that was dialled, or the one they have", () => {
    assert.deepEqual(shown(index.serviceAt(...words("10.96.0.1"), 80)?.endpoints), [
      "default/web-1 10.0.0.2 8080",
      "default/web-2 fd00::3 8080",
      "data/db 10.0.0.4 8080",
    ]);
    assert.deepEqual(shown(index.serviceAt(...words("fd00:96::1"), 80)?.endpoints), [
      "default/web-1 fd00::2 8080",
      "default/web-2 fd00::3 8080",
      "data/db 10.0.0.4 8080",
    ]);
  });

  test("tells a service without endpoints from no service", () => {
    assert.deepEqual(index.serviceAt(...words("10.96.0.3"), 80)?.endpoints, []);
  });

  test("counts the load of a workload's port once, however many services and addresses lead to it", () => {
    const both = MeshIndex.of(
      snapshot(
        [workload("w", ["10.0.0.2"])],
        [service("a", ["10.96.0.1", "fd00:96::1"], ["w"]), service("b", ["10.96.0.2"], ["w"])],
      ),
    );
    const [one] = both.serviceAt(...words("10.96.0.1"), 80)!.endpoints;
    assert.equal(both.serviceAt(...words("10.96.0.2"), 80)!.endpoints[0], one);
    assert.equal(both.serviceAt(...words("fd00:96::1"), 80)!.endpoints[0], one);
  });

  test("keeps counting connections at endpoints that are still there after a change", () => {
    const before = snapshot([workload("w", ["10.0.0.2"])], [service("s", ["10.96.0.1"], ["w"])]);
    const changing = MeshIndex.of(before);
    const endpoint = changing.serviceAt(...words("10.96.0.1"), 80)!.endpoints[0]!;
    endpoint.openConnections = 2;
    const moved = workload("w", ["10.0.0.2"], { node: "b" });
    const after = snapshot([workload("first", ["10.0.0.9"]), moved], [service("s", ["10.96.0.1"], ["first", "w"])], {
      version: 2,
    });
    change(changing, before, after);
    const kept = changing.serviceAt(...words("10.96.0.1"), 80)!.endpoints[1]!;
    endpoint.openConnections--;
    assert.equal(kept.openConnections, 1);
    assert.deepEqual(kept.workload, moved);
    assert.equal(changing.version, 2);
  });

  test("starts from nothing at an address that another workload or another port took over", () => {
    const before = snapshot([workload("w", ["10.0.0.2"])], [service("s", ["10.96.0.1"], ["w"])]);
    const changing = MeshIndex.of(before);
    changing.serviceAt(...words("10.96.0.1"), 80)!.endpoints[0]!.openConnections = 2;
    const ports = [
      { port: 80, targetPort: 8080 },
      { port: 81, targetPort: 8081 },
    ];
    const after = snapshot([workload("v", ["10.0.0.2"])], [service("s", ["10.96.0.1"], ["v"], { ports })]);
    change(changing, before, after);
    assert.equal(changing.serviceAt(...words("10.96.0.1"), 80)!.endpoints[0]!.openConnections, 0);
    assert.equal(changing.serviceAt(...words("10.96.0.1"), 81)!.endpoints[0]!.openConnections, 0);
    assert.equal(changing.workloadAt(...words("10.0.0.2"))?.name, "v");
  });

  test("finds the endpoint at a workload's address and a service's target port, and nothing elsewhere", () => {
    assert.equal(index.endpointAt(...words("10.0.0.2"), 8080)?.label, "default/web-1");
    assert.equal(index.endpointAt(...words("fd00::2"), 8080)?.label, "default/web-1");
    assert.equal(index.endpointAt(...words("10.0.0.2"), 80), undefined);
    assert.equal(index.endpointAt(...words("10.96.0.1"), 8080), undefined);
  });

  test("knows what a service's port and its endpoints are declared to speak, unless two services disagree", () => {
    const at8080 = (protocol: Protocol | undefined) => ({ ports: [{ port: 80, targetPort: 8080, protocol }] });
    const declared = (a: Protocol | undefined, b: Protocol | undefined) =>
      snapshot(
        [workload("w", ["10.0.0.2"]), workload("v", ["10.0.0.3"])],
        [service("a", ["10.96.0.1"], ["w", "v"], at8080(a)), service("b", ["10.96.0.2"], ["w"], at8080(b))],
      );
    const changing = new MeshIndex();
    let before = snapshot([], []);
    for (const [a, b, agreed] of [
      ["http", "http", "http"],
      ["http", "opaque", undefined],
      ["http", undefined, undefined],
      ["tls", "tls", "tls"],
      [undefined, undefined, undefined],
    ] as const) {
      const after = declared(a, b);
      change(changing, before, after);
      before = after;
      for (const built of [changing, MeshIndex.of(after)]) {
        assert.equal(built.serviceAt(...words("10.96.0.1"), 80)?.port.protocol, a);
        assert.equal(built.serviceAt(...words("10.96.0.2"), 80)?.port.protocol, b);
        assert.equal(built.endpointAt(...words("10.0.0.2"), 8080)?.protocol, agreed);
        assert.equal(built.endpointAt(...words("10.0.0.3"), 8080)?.protocol, a);
      }
    }
  });

  test("refuses a service that names a workload that is not there", () => {
    assert.throws(() => MeshIndex.of(snapshot([], [service("s", ["10.96.0.1"], ["w"])], { version: 7 })), {
      message: "index mesh 7: service default/s has default/w, which is no workload",
    });
  });

  test("leaves out workloads that are not ready, for all or for this service, and those without the named port", () => {
    const named = { ports: [{ name: "http", port: 8081 }] };
    const some = MeshIndex.of(
      snapshot(
        [
          workload("good", ["10.0.0.2"], named),
          workload("starting", ["10.0.0.3"], { ...named, isReady: false }),
          workload("leaving", ["10.0.0.4"], named),
          workload("nameless", ["10.0.0.5"]),
        ],
        [
          service("s", ["10.96.0.1"], ["good", "starting", "leaving", "nameless"], {
            notReady: ["default/leaving"],
            ports: [{ port: 80, targetPort: "http" }],
          }),
        ],
      ),
    );
    assert.deepEqual(shown(some.serviceAt(...words("10.96.0.1"), 80)?.endpoints), ["default/good 10.0.0.2 8081"]);
  });

  test("orders endpoints by nearness as the service prefers", () => {
    const workloads = [
      workload("far", ["10.0.0.2"], { node: "c", zone: "two" }),
      workload("zone", ["10.0.0.3"], { node: "b", zone: "one" }),
      workload("node", ["10.0.0.4"], { node: "a", zone: "one" }),
      workload("nowhere", ["10.0.0.5"], { node: "d" }),
    ];
    const tiers = (preference: Service["preference"], zone: string | undefined) =>
      MeshIndex.of(
        snapshot(workloads, [service("s", ["10.96.0.1"], ["far", "zone", "node", "nowhere"], { preference })], {
          zone,
        }),
      )
        .serviceAt(...words("10.96.0.1"), 80)!
        .tiers.map((tier) => tier.map((it) => it.workload.name));
    assert.deepEqual(tiers("none", "one"), [["far", "zone", "node", "nowhere"]]);
    assert.deepEqual(tiers("zone", "one"), [
      ["zone", "node"],
      ["far", "nowhere"],
    ]);
    assert.deepEqual(tiers("node", "one"), [["node"], ["zone"], ["far", "nowhere"]]);
    assert.deepEqual(tiers("zone", undefined), [["far", "zone", "node", "nowhere"]]);
  });

  test("after any changes is as if built from the last snapshot, and holds nothing else", () => {
    const everything = (index: MeshIndex) =>
      Array.from({ length: 6 }, (_, host) => [
        index.workloadAt(...words(`10.1.0.${host}`)),
        ...[80, 81].map((port) => {
          const target = index.serviceAt(...words(`10.2.0.${host}`), port);
          return [target?.name, shown(target?.endpoints), target?.endpoints.map((it) => it.workload.node)];
        }),
      ]);
    fc.assert(
      fc.property(fc.array(anyMesh, { minLength: 1, maxLength: 5 }), (meshes) => {
        const changing = MeshIndex.of(meshes[0]!);
        for (const [i, after] of meshes.slice(1).entries()) change(changing, meshes[i]!, after);
        assert.deepEqual(everything(changing), everything(MeshIndex.of(meshes.at(-1)!)));
        assert.equal(changing.heldEndpoints, MeshIndex.of(meshes.at(-1)!).heldEndpoints);
      }),
    );
  });

  test("finds every workload and every service port of any mesh, and nothing beside them", () => {
    const host = (prefix: string, i: number) => `${prefix}.${i >> 8}.${i & 255}`;
    const shape = fc.record({
      workloads: fc.integer({ min: 1, max: 300 }),
      services: fc.array(fc.array(fc.nat(65534), { minLength: 1, maxLength: 4 }), { maxLength: 60 }),
    });
    fc.assert(
      fc.property(shape, ({ workloads, services }) => {
        const mesh = snapshot(
          Array.from({ length: workloads }, (_, i) => workload(`w${i}`, [host("10.1", i)])),
          services.map((ports, i) =>
            service(`s${i}`, [host("10.2", i)], [`w${i % workloads}`], {
              ports: [...new Set(ports)].map((port) => ({ port, targetPort: port + 1 })),
            }),
          ),
        );
        const built = MeshIndex.of(mesh);
        for (let i = 0; i < workloads; i++) assert.equal(built.workloadAt(...words(host("10.1", i)))?.name, `w${i}`);
        assert.equal(built.workloadAt(...words(host("10.1", workloads))), undefined);
        for (const [i, ports] of services.entries()) {
          for (const port of ports) {
            const target = built.serviceAt(...words(host("10.2", i)), port);
            assert.deepEqual(shown(target?.endpoints), [
              `default/w${i % workloads} ${host("10.1", i % workloads)} ${port + 1}`,
            ]);
          }
          const free = Array.from({ length: 5 }, (_, k) => 65535 - k).find((port) => !ports.includes(port))!;
          assert.equal(built.serviceAt(...words(host("10.2", i)), free), undefined);
        }
      }),
      { numRuns: 30 },
    );
  });
});
