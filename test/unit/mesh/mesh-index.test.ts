import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { formatAddress, parseAddress } from "../../../src/mesh/address.ts";
import { type Endpoint, MeshIndex } from "../../../src/mesh/mesh-index.ts";
import type { Protocol } from "../../../src/mesh/protocol.ts";
import type { MeshSnapshot, Service, Workload } from "../../../src/mesh/snapshot.ts";

const at = (text: string) => parseAddress(text)!;
const words = (text: string) => at(text).words;

function workload(name: string, addresses: string[], namespace = "default"): Workload {
  return { name, namespace, node: "a", addresses: addresses.map(at) };
}

function service(
  name: string,
  addresses: string[],
  endpoints: number[],
  ports = [{ port: 80, targetPort: 8080 }],
): Service {
  return { name, namespace: "default", addresses: addresses.map(at), ports, endpoints };
}

function snapshot(workloads: Workload[], services: Service[], version = 1): MeshSnapshot {
  return { version, node: "a", workloads, services };
}

const shown = (endpoints: readonly Endpoint[] | undefined) =>
  endpoints?.map((it) => `${it.label} ${formatAddress(it.address)} ${it.port}`);

describe("the mesh index", () => {
  const mesh = snapshot(
    [workload("web-1", ["10.0.0.2", "fd00::2"]), workload("web-2", ["fd00::3"]), workload("db", ["10.0.0.4"], "data")],
    [service("web", ["10.96.0.1", "fd00:96::1", "10.96.0.2"], [0, 1, 2]), service("none", ["10.96.0.3"], [])],
  );
  const index = new MeshIndex(structuredClone(mesh));

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
    const both = new MeshIndex(
      snapshot(
        [workload("w", ["10.0.0.2"])],
        [service("a", ["10.96.0.1", "fd00:96::1"], [0]), service("b", ["10.96.0.2"], [0])],
      ),
    );
    const [one] = both.serviceAt(...words("10.96.0.1"), 80)!.endpoints;
    assert.equal(both.serviceAt(...words("10.96.0.2"), 80)!.endpoints[0], one);
    assert.equal(both.serviceAt(...words("fd00:96::1"), 80)!.endpoints[0], one);
  });

  test("keeps counting connections of an older snapshot at endpoints that are still there", () => {
    const older = new MeshIndex(snapshot([workload("w", ["10.0.0.2"])], [service("s", ["10.96.0.1"], [0])]));
    const endpoint = older.serviceAt(...words("10.96.0.1"), 80)!.endpoints[0]!;
    endpoint.openConnections = 2;
    const moved = { ...workload("w", ["10.0.0.2"]), node: "b" };
    const newer = new MeshIndex(
      snapshot([workload("first", ["10.0.0.9"]), moved], [service("s", ["10.96.0.1"], [0, 1])], 2),
      older,
    );
    const kept = newer.serviceAt(...words("10.96.0.1"), 80)!.endpoints[1]!;
    endpoint.openConnections--;
    assert.equal(kept.openConnections, 1);
    assert.equal(kept.workload, moved);
    assert.equal(newer.version, 2);
  });

  test("starts from nothing at an address that another workload or another port took over", () => {
    const older = new MeshIndex(snapshot([workload("w", ["10.0.0.2"])], [service("s", ["10.96.0.1"], [0])]));
    older.serviceAt(...words("10.96.0.1"), 80)!.endpoints[0]!.openConnections = 2;
    const newer = new MeshIndex(
      snapshot(
        [workload("v", ["10.0.0.2"])],
        [
          service(
            "s",
            ["10.96.0.1"],
            [0],
            [
              { port: 80, targetPort: 8080 },
              { port: 81, targetPort: 8081 },
            ],
          ),
        ],
      ),
      older,
    );
    assert.equal(newer.serviceAt(...words("10.96.0.1"), 80)!.endpoints[0]!.openConnections, 0);
    assert.equal(newer.serviceAt(...words("10.96.0.1"), 81)!.endpoints[0]!.openConnections, 0);
  });

  test("finds the endpoint at a workload's address and a service's target port, and nothing elsewhere", () => {
    assert.equal(index.endpointAt(...words("10.0.0.2"), 8080)?.label, "default/web-1");
    assert.equal(index.endpointAt(...words("fd00::2"), 8080)?.label, "default/web-1");
    assert.equal(index.endpointAt(...words("10.0.0.2"), 80), undefined);
    assert.equal(index.endpointAt(...words("10.96.0.1"), 8080), undefined);
  });

  test("knows what a service's port and its endpoints are declared to speak, unless two services disagree", () => {
    const at8080 = (protocol: Protocol | undefined) => [{ port: 80, targetPort: 8080, protocol }];
    const declared = (a: Protocol | undefined, b: Protocol | undefined, previous?: MeshIndex) =>
      new MeshIndex(
        snapshot(
          [workload("w", ["10.0.0.2"]), workload("v", ["10.0.0.3"])],
          [service("a", ["10.96.0.1"], [0, 1], at8080(a)), service("b", ["10.96.0.2"], [0], at8080(b))],
        ),
        previous,
      );
    const seen = (built: MeshIndex) => [
      built.serviceAt(...words("10.96.0.1"), 80)?.protocol,
      built.serviceAt(...words("10.96.0.2"), 80)?.protocol,
      built.endpointAt(...words("10.0.0.2"), 8080)?.protocol,
      built.endpointAt(...words("10.0.0.3"), 8080)?.protocol,
    ];
    assert.deepEqual(seen(declared("http", "http")), ["http", "http", "http", "http"]);
    assert.deepEqual(seen(declared("http", "opaque")), ["http", "opaque", undefined, "http"]);
    assert.deepEqual(seen(declared("http", undefined)), ["http", undefined, undefined, "http"]);
    assert.deepEqual(seen(declared("tls", "tls", declared("http", "opaque"))), ["tls", "tls", "tls", "tls"]);
    assert.deepEqual(seen(declared(undefined, undefined, declared("http", "http"))), Array(4).fill(undefined));
  });

  test("refuses a snapshot whose service names a workload that is not in it", () => {
    assert.throws(() => new MeshIndex(snapshot([workload("w", ["10.0.0.2"])], [service("s", ["10.96.0.1"], [1])], 7)), {
      message: "index snapshot 7: service default/s has workload 1 of 1",
    });
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
            service(
              `s${i}`,
              [host("10.2", i)],
              [i % workloads],
              [...new Set(ports)].map((port) => ({ port, targetPort: port + 1 })),
            ),
          ),
        );
        const built = new MeshIndex(mesh);
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
