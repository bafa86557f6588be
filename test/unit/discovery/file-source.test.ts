import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ConfigError } from "../../../src/discovery/config-error.ts";
import { loadMeshFile, parseMesh } from "../../../src/discovery/file-source.ts";
import type { OptOut } from "../../../src/discovery/node-config.ts";
import { formatAddress, formatCidr } from "../../../src/mesh/address.ts";
import { CulvertError } from "../../../src/telemetry/errors.ts";

const full = `
node:
  name: a
  cgroups: { pods: /sys/fs/cgroup/x/pods, proxy: /sys/fs/cgroup/x/proxy }
  workers: 2
  podCidrs: [10.244.0.0/16, "fd00::/64"]
  admin: { socket: /run/culvert/other.sock, address: "[::1]:9901" }
  drainTimeoutSeconds: 0
  connectTimeoutSeconds: 1.5
  detectTimeoutSeconds: 3600
  log: { level: debug }
  pins: /sys/fs/bpf/x/a
nodes:
  - { name: b, addresses: [192.0.2.2, "2001:db8::2"] }
workloads:
  - name: web-1
    node: a
    addresses: [10.244.0.2, "fd00::2"]
    netns: /run/netns/web-1
    capture:
      outbound: { optOut: [{ ports: [5432, "8000-8100"], cidr: 10.9.0.0/16 }, { cidr: 10.8.0.1 }] }
      inbound: { optOut: [{ ports: ["22"] }], whenProxyDown: deny }
  - { name: web-2, namespace: other, node: b, addresses: [10.244.1.2], netns: /run/netns/web-1 }
  - { name: plain, node: a, addresses: [10.244.0.9] }
  - { name: web-2, node: a, addresses: [10.244.0.3], netns: /run/netns/web-2 }
services:
  - name: web
    addresses: [10.96.0.10, "fd00:96::10"]
    ports: [{ port: 80, targetPort: 8080, protocol: http2 }, { port: 443 }]
    endpoints: [web-1, other/web-2, web-2]
  - { name: none, namespace: other, addresses: [10.96.0.11], ports: [{ port: 1 }], endpoints: [] }
`;

const least = `
node: { name: a, cgroups: { pods: /sys/fs/cgroup/pods } }
`;

const shown = (optOuts: readonly OptOut[]) =>
  optOuts.map(({ address, ports }) => [
    address === undefined ? "any" : formatCidr(address),
    ...ports.map(({ from, to }) => `${from}-${to}`),
  ]);

describe("mesh.yaml", () => {
  test("gives the node's configuration", () => {
    const { node } = parseMesh(full, "mesh.yaml");
    assert.deepEqual(
      { ...node, podCidrs: node.podCidrs.map(formatCidr) },
      {
        name: "a",
        cgroups: { pods: "/sys/fs/cgroup/x/pods", proxy: "/sys/fs/cgroup/x/proxy", kubelet: undefined },
        unknownPods: "pass",
        plainNamespaces: [],
        workers: 2,
        podCidrs: ["10.244.0.0/16", "fd00::/64"],
        admin: { socket: "/run/culvert/other.sock", address: { host: "::1", port: 9901 } },
        drainTimeoutMs: 0,
        connectTimeoutMs: 1500,
        detectTimeoutMs: 3_600_000,
        peerTimeoutMs: 120_000,
        logLevel: "debug",
        pins: "/sys/fs/bpf/x/a",
      },
    );
  });

  test("names addresses of other nodes", () => {
    const { nodes } = parseMesh(full, "mesh.yaml");
    assert.deepEqual(
      nodes.map(({ name, addresses }) => [name, ...addresses.map(formatAddress)]),
      [["b", "192.0.2.2", "2001:db8::2"]],
    );
  });

  test("needs little: the rest has defaults", () => {
    const { node, nodes, snapshot, pods } = parseMesh(least, "mesh.yaml");
    assert.deepEqual(nodes, []);
    assert.deepEqual(node, {
      name: "a",
      cgroups: { pods: "/sys/fs/cgroup/pods", proxy: undefined, kubelet: undefined },
      unknownPods: "pass",
      plainNamespaces: [],
      workers: undefined,
      podCidrs: [],
      admin: { socket: "/run/culvert/a.sock", address: undefined },
      drainTimeoutMs: 30_000,
      connectTimeoutMs: 5_000,
      detectTimeoutMs: 10_000,
      peerTimeoutMs: 120_000,
      logLevel: "info",
      pins: "/sys/fs/bpf/culvert/a",
    });
    const dotted = parseMesh(least.replace("name: a", "name: a.b"), "mesh.yaml");
    assert.equal(dotted.node.pins, "/sys/fs/bpf/culvert/a_b");
    assert.deepEqual(snapshot, {
      version: 1,
      trustDomain: "cluster.local",
      node: "a",
      zone: undefined,
      workloads: [],
      services: [],
    });
    assert.deepEqual(pods, []);
  });

  test("gives a snapshot in which services call workloads by label, whatever their namespaces", () => {
    const { snapshot } = parseMesh(full, "mesh.yaml");
    assert.equal(snapshot.version, 1);
    assert.equal(parseMesh(full, "mesh.yaml", parseMesh(full, "mesh.yaml")).snapshot.version, 2);
    assert.deepEqual(
      snapshot.workloads.map((it) => `${it.namespace}/${it.name} ${it.node} ${it.addresses.map(formatAddress)}`),
      [
        "default/web-1 a 10.244.0.2,fd00::2",
        "other/web-2 b 10.244.1.2",
        "default/plain a 10.244.0.9",
        "default/web-2 a 10.244.0.3",
      ],
    );
    assert.deepEqual(
      snapshot.services.map((it) => [
        `${it.namespace}/${it.name}`,
        it.ports.map(({ port, targetPort, protocol }) => ({ port, targetPort, protocol })),
        it.endpoints,
        it.addresses.map(formatAddress),
      ]),
      [
        [
          "default/web",
          [
            { port: 80, targetPort: 8080, protocol: "http2" },
            { port: 443, targetPort: 443, protocol: undefined },
          ],
          ["default/web-1", "other/web-2", "default/web-2"],
          ["10.96.0.10", "fd00:96::10"],
        ],
        ["other/none", [{ port: 1, targetPort: 1, protocol: undefined }], [], ["10.96.0.11"]],
      ],
    );
  });

  test("gives as pods the workloads of this node that have a netns", () => {
    const { pods } = parseMesh(full, "mesh.yaml");
    assert.deepEqual(
      pods.map((it) => [it.name, it.netnsPath, it.addresses.map(formatAddress)]),
      [
        ["default/web-1", "/run/netns/web-1", ["10.244.0.2", "fd00::2"]],
        ["default/web-2", "/run/netns/web-2", ["10.244.0.3"]],
      ],
    );
    assert.deepEqual(shown(pods[0]!.outboundOptOuts), [["10.9.0.0/16", "5432-5432", "8000-8100"], ["10.8.0.1/32"]]);
    assert.deepEqual(shown(pods[0]!.inboundOptOuts), [["any", "22-22"]]);
    assert.deepEqual(pods[1]!.outboundOptOuts, []);
  });

  test("lets pass what the proxy cannot take, unless a workload's direction says deny", () => {
    const strictness = (text: string) =>
      parseMesh(text, "mesh.yaml").pods.map((it) => [it.outboundStrict, it.inboundStrict]);
    assert.deepEqual(strictness(full), [
      [false, true],
      [false, false],
    ]);
    assert.deepEqual(strictness(full.replace("cidr: 10.8.0.1 }]", "cidr: 10.8.0.1 }], whenProxyDown: deny"))[0], [
      true,
      true,
    ]);
  });

  test("knows nodes and zones, ports by name, protocols, readiness, affinity and preference", () => {
    const { snapshot, pods } = parseMesh(
      `
trustDomain: example.org
node: { name: a, cgroups: { pods: /p } }
nodes:
  - { name: a, addresses: [192.0.2.1], zone: one }
  - { name: b, zone: two }
workloads:
  - { name: near, node: a, addresses: [10.0.0.1], serviceAccount: web, ports: [{ name: http, port: 8080 }] }
  - { name: moved, node: b, zone: three, addresses: [10.0.0.2] }
  - name: watched
    node: a
    netns: /n
    addresses: [10.0.0.3]
    ready: false
    capture: { outbound: { egress: observe } }
services:
  - name: s
    addresses: [10.96.0.1]
    ports: [{ port: 80, name: web, targetPort: http, protocol: http2 }]
    endpoints: [near, { workload: moved, ready: false }]
    prefer: node
    sessionAffinity: clientAddress
`,
      "mesh.yaml",
    );
    assert.deepEqual([snapshot.trustDomain, snapshot.zone], ["example.org", "one"]);
    assert.deepEqual(
      snapshot.workloads.map((it) => [it.name, it.serviceAccount, it.zone, it.isReady, it.ports]),
      [
        ["near", "web", "one", true, [{ name: "http", port: 8080 }]],
        ["moved", "default", "three", true, []],
        ["watched", "default", "one", false, []],
      ],
    );
    assert.deepEqual(snapshot.services, [
      {
        name: "s",
        namespace: "default",
        addresses: snapshot.services[0]!.addresses,
        ports: [{ port: 80, name: "web", targetPort: "http", protocol: "http2" }],
        endpoints: ["default/near", "default/moved"],
        notReady: ["default/moved"],
        preference: "node",
        hasAffinity: true,
      },
    ]);
    assert.deepEqual(
      pods.map((it) => it.observesEgress),
      [true],
    );
  });

  test("lets a selector choose the workloads of its namespace that have all its labels", () => {
    const { snapshot } = parseMesh(
      `
node: { name: a, cgroups: { pods: /p } }
workloads:
  - { name: both, node: a, addresses: [10.0.0.1], labels: { app: web, tier: "1" } }
  - { name: one, node: a, addresses: [10.0.0.2], labels: { app: web } }
  - { name: other, namespace: far, node: a, addresses: [10.0.0.3], labels: { app: web, tier: "1" } }
  - { name: none, node: a, addresses: [10.0.0.4] }
services:
  - { name: all, addresses: [10.96.0.1], ports: [{ port: 1 }], selector: { app: web } }
  - { name: some, addresses: [10.96.0.2], ports: [{ port: 1 }], selector: { app: web, tier: "1" } }
  - { name: nothing, addresses: [10.96.0.3], ports: [{ port: 1 }], selector: { app: db } }
`,
      "mesh.yaml",
    );
    assert.deepEqual(
      snapshot.services.map((it) => it.endpoints),
      [["default/both", "default/one"], ["default/both"], []],
    );
  });

  test("refuses to change what a running node cannot change, naming the key", () => {
    const running = parseMesh(full, "mesh.yaml");
    const reload = (from: string, to: string) => () => parseMesh(full.replace(from, to), "mesh.yaml", running);
    for (const [from, to, place, message] of [
      ["name: a", "name: b", "node.name", /cannot change while the node runs; put "a" back, or restart Culvert/],
      ["x/pods", "y/pods", "node.cgroups", /cannot change while the node runs/],
      ["workers: 2", "workers: 3", "node.workers", /put 2 back/],
      ["workers: 2", "", "node.workers", /put 2 back/],
      ["other.sock", "third.sock", "node.admin", /cannot change/],
      ["x/a", "x/b", "node.pins", /cannot change/],
    ] as const) {
      assert.throws(reload(from, to), (error) => {
        assert.ok(error instanceof ConfigError);
        const [problem] = error.problems;
        assert.equal(problem?.path, place);
        assert.match(problem!.message, message);
        return true;
      });
    }
    for (const [from, to] of [
      ["10.244.0.0/16", "10.245.0.0/16"],
      ["drainTimeoutSeconds: 0", "drainTimeoutSeconds: 1"],
      ["connectTimeoutSeconds: 1.5", "connectTimeoutSeconds: 2"],
      ["level: debug", "level: warn"],
    ] as const) {
      reload(from, to)();
    }
  });

  test("survives the way to a worker", () => {
    const { snapshot } = parseMesh(full, "mesh.yaml");
    assert.deepEqual(structuredClone(snapshot), snapshot);
  });

  test("is read from a file; one that cannot be read says which and why", () => {
    const directory = mkdtempSync(join(tmpdir(), "culvert-"));
    try {
      const path = join(directory, "mesh.yaml");
      assert.throws(
        () => loadMeshFile(path),
        (error) => error instanceof CulvertError && error.code === "CONFIG_UNREADABLE" && error.message.includes(path),
      );
      writeFileSync(path, least);
      assert.equal(loadMeshFile(path).node.name, "a");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
