// Every mistake in mesh.yaml that is found, one a row: the text, with the place that must be reported between «»,
// the path, and what the message must say.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigError, type ConfigProblem } from "../../../src/discovery/config-error.ts";
import { parseMesh } from "../../../src/discovery/file-source.ts";

function problemsOf(text: string): readonly ConfigProblem[] {
  try {
    parseMesh(text, "mesh.yaml");
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** Takes the marks out and tells where the first stood. */
function marked(text: string): { text: string; line: number; column: number } {
  const before = text.slice(0, text.indexOf("«"));
  const line = before.split("\n").length;
  return { text: text.replaceAll(/[«»]/g, ""), line, column: before.length - before.lastIndexOf("\n") };
}

const node = "node: { name: a, cgroups: { pods: /p } }\n";
const nodeWith = (entry: string) => `node:\n  name: a\n  cgroups: { pods: /p }\n  ${entry}\n`;
const workloads = (...entries: string[]) => `${node}workloads:\n${entries.map((it) => `  - ${it}\n`).join("")}`;
const services = (...entries: string[]) =>
  `${workloads("{ name: w, node: a, addresses: [10.0.0.1] }")}services:\n${entries.map((it) => `  - ${it}\n`).join("")}`;
const optOut = (rules: string) =>
  workloads(`{ name: w, node: a, addresses: [10.0.0.1], capture: { outbound: { optOut: ${rules} } } }`);
const ruleList = (count: number) => `[${new Array<string>(count).fill("{ ports: [1] }").join(", ")}]`;

type Case = readonly [text: string, path: string, message: RegExp];
const cases: Record<string, readonly Case[]> = {
  "a document of another shape": [
    ["«»", "", /there is no value; write a mapping of node, nodes, workloads, services/],
    ["«- a»", "", /a list does not fit here; write a mapping/],
    [`${node}nodes: [{ name: b, addresses: «[]» }]`, "nodes[0].addresses", /is empty; write at least one of the node/],
    [
      `${node}nodes: [{ name: b, addresses: [192.0.2.1] }, { name: «b», addresses: [192.0.2.2] }]`,
      "nodes[1].name",
      /b is already the name of nodes\[0\]\.name; list a node once/,
    ],
    ["«workloads: []»", "node", /is missing/],
    ["node: «»\n", "node", /there is no value; write a mapping of name, cgroups/],
    [`${node}workloads: «x»`, "workloads", /"x" does not fit here; write a list of workloads/],
    [workloads("«web»"), "workloads[0]", /"web" does not fit here; write a mapping of name, namespace/],
  ],
  "YAML that is broken or ambiguous": [
    ["node: {«»", "", /flow map.* end with a }; correct the YAML/],
    ["node: 1\n«node»: 2", "", /map keys must be unique; correct the YAML/],
    ["node: «*nobody»", "", /alias \*nobody refers to nothing above it; correct the YAML/],
    ["node: «!secret x»", "", /unresolved tag: !secret; correct the YAML/],
  ],
  "keys that are unknown or missing": [
    [nodeWith("«wokers»: 2"), "node.wokers", /is no key known here; did you mean workers\?/],
    [nodeWith("«zzz»: 2"), "node.zzz", /is no key known here; write one of name, cgroups, workers/],
    [nodeWith("log: { «constructor»: 1 }"), "node.log.constructor", /is no key known here/],
    ["node: «{ cgroups: { pods: /p } }»", "node.name", /is missing; write a name such as a/],
    ["node: { name: a, cgroups: «{}» }", "node.cgroups.pods", /is missing; write an absolute path/],
    [
      services("«{ name: s, addresses: [10.96.0.1], endpoints: [] }»"),
      "services[0].ports",
      /is missing; write a list of ports/,
    ],
  ],
  names: [
    ["node: { name: «A», cgroups: { pods: /p } }", "node.name", /"A" does not fit here; write a name such as a/],
    ["node: { name: «7», cgroups: { pods: /p } }", "node.name", /7 does not fit here; .*quoted if all digits/],
    [`node: { name: «${"a".repeat(254)}», cgroups: { pods: /p } }`, "node.name", /at most 253/],
    [
      workloads("{ name: w/x, node: a, addresses: [10.0.0.1] }").replace("w/x", "«w/x»"),
      "workloads[0].name",
      /write a name/,
    ],
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1] }", "{ name: «w», node: b, addresses: [10.0.0.2] }"),
      "workloads[1].name",
      /default\/w is already the name of workloads\[0\]\.name; choose another/,
    ],
    [
      services(
        "{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }], endpoints: [] }",
        "{ name: «s», namespace: default, addresses: [10.96.0.2], ports: [{ port: 1 }], endpoints: [] }",
      ),
      "services[1].name",
      /default\/s is already the name of services\[0\]\.name/,
    ],
  ],
  addresses: [
    [workloads("{ name: w, node: a, addresses: «[]» }"), "workloads[0].addresses", /is empty; write at least one/],
    [
      workloads("{ name: w, node: a, addresses: [«10.0.0»] }"),
      "workloads[0].addresses[0]",
      /"10\.0\.0" does not fit here; write an IP address/,
    ],
    [workloads("{ name: w, node: a, addresses: [«10.0.0.1/8»] }"), "workloads[0].addresses[0]", /write an IP address/],
    [
      workloads("{ name: w, node: a, addresses: [«127.0.0.1»] }"),
      "workloads[0].addresses[0]",
      /"127\.0\.0\.1" is a loopback address/,
    ],
    [
      workloads("{ name: w, node: a, addresses: [«'fe80::1'»] }"),
      "workloads[0].addresses[0]",
      /is a link-local address/,
    ],
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1, «'::ffff:10.0.0.1'»] }"),
      "workloads[0].addresses[1]",
      /10\.0\.0\.1 is already used as workloads\[0\]\.addresses\[0\]/,
    ],
    [
      services("{ name: s, addresses: [«10.0.0.1»], ports: [{ port: 1 }], endpoints: [] }"),
      "services[0].addresses[0]",
      /10\.0\.0\.1 is already used as workloads\[0\]\.addresses\[0\]/,
    ],
  ],
  "network namespaces": [
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1], netns: «run/x» }"),
      "workloads[0].netns",
      /write an absolute path/,
    ],
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1], netns: «/run/../x» }"),
      "workloads[0].netns",
      /write an absolute path/,
    ],
    [
      workloads(
        "{ name: w, node: a, addresses: [10.0.0.1], netns: /run/x }",
        "{ name: v, node: b, addresses: [10.0.0.2], netns: /run/x }",
        "{ name: u, node: a, addresses: [10.0.0.3], netns: «/run/x» }",
      ),
      "workloads[2].netns",
      /is the same network namespace as workloads\[0\]\.netns/,
    ],
  ],
  "when the proxy is down": [
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1], capture: { inbound: { whenProxyDown: «drop» } } }"),
      "workloads[0].capture.inbound.whenProxyDown",
      /write one of pass, deny/,
    ],
  ],
  "opt-outs": [
    [optOut("[«{}»]"), "workloads[0].capture.outbound.optOut[0]", /says neither ports nor cidr/],
    [optOut("[{ ports: «[]» }]"), "workloads[0].capture.outbound.optOut[0].ports", /is empty/],
    [optOut("[{ ports: [«0»] }]"), "workloads[0].capture.outbound.optOut[0].ports[0]", /0 is outside 1 to 65535/],
    [optOut("[{ ports: [«1-65536»] }]"), "workloads[0].capture.outbound.optOut[0].ports[0]", /outside 1 to 65535/],
    [optOut("[{ ports: [«9-8»] }]"), "workloads[0].capture.outbound.optOut[0].ports[0]", /"9-8" runs backwards/],
    [
      optOut("[{ ports: [«http»] }]"),
      "workloads[0].capture.outbound.optOut[0].ports[0]",
      /write a port such as 5432 or a range/,
    ],
    [
      optOut("[{ cidr: «10.0.0.1/8» }]"),
      "workloads[0].capture.outbound.optOut[0].cidr",
      /has host bits: its network is 10\.0\.0\.0\/8/,
    ],
    [
      workloads(
        `{ name: w, node: a, addresses: [10.0.0.1], capture: «{ outbound: { optOut: ${ruleList(15)} }, inbound: { optOut: [{ ports: [1, 2] }] } }» }`,
      ),
      "workloads[0].capture",
      /has more than 16 opt-out rules/,
    ],
  ],
  services: [
    [services("{ name: s, addresses: [10.96.0.1], ports: «[]», endpoints: [] }"), "services[0].ports", /is empty/],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: «65536» }], endpoints: [] }"),
      "services[0].ports[0].port",
      /write a whole number from 1 to 65535/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1, targetPort: «'80'» }], endpoints: [] }"),
      "services[0].ports[0].targetPort",
      /"80" does not fit here/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1, protocol: «mysql» }], endpoints: [] }"),
      "services[0].ports[0].protocol",
      /"mysql" does not fit here; write one of http, http2, grpc, tls, opaque/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }, { port: «1» }], endpoints: [] }"),
      "services[0].ports[1].port",
      /port 1 is already declared as services\[0\]\.ports\[0\]\.port/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }], endpoints: [«x/y/z»] }"),
      "services[0].endpoints[0]",
      /write the name of a workload/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }], endpoints: [«other/w»] }"),
      "services[0].endpoints[0]",
      /no workload is called other\/w; add it under workloads or remove it here/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }], endpoints: [«ww»] }"),
      "services[0].endpoints[0]",
      /no workload is called default\/ww; did you mean default\/w\?/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }], endpoints: [w, «default/w»] }"),
      "services[0].endpoints[1]",
      /default\/w is already listed as services\[0\]\.endpoints\[0\]/,
    ],
  ],
  "the node": [
    [nodeWith("workers: «0»"), "node.workers", /0 does not fit here; write a whole number from 1 to 64/],
    [nodeWith("workers: «1.5»"), "node.workers", /write a whole number/],
    [nodeWith("podCidrs: [«10.244.0.1/16»]"), "node.podCidrs[0]", /has host bits: its network is 10\.244\.0\.0\/16/],
    [nodeWith("podCidrs: [«10.0.0.0/33»]"), "node.podCidrs[0]", /write a network such as/],
    [
      nodeWith(`podCidrs: «[${Array.from({ length: 17 }, (_, i) => `10.${i}.0.0/16`)}]»`),
      "node.podCidrs",
      /has more than 16 networks/,
    ],
    [nodeWith("admin: { address: «localhost:99» }"), "node.admin.address", /write an IP address and a port/],
    [nodeWith('admin: { address: «"127.0.0.1:0"» }'), "node.admin.address", /write an IP address and a port/],
    [
      nodeWith(`admin: { socket: «/${"s".repeat(107)}» }`),
      "node.admin.socket",
      /is too long for a socket; write an absolute path of at most 107 bytes/,
    ],
    [
      `node: { name: «${"a".repeat(100)}», cgroups: { pods: /p } }`,
      "node.name",
      /is too long for the default admin socket.*set node\.admin\.socket/,
    ],
    [nodeWith("drainTimeoutSeconds: «-1»"), "node.drainTimeoutSeconds", /write a number of seconds from 0 to 3600/],
    [nodeWith("connectTimeoutSeconds: «0»"), "node.connectTimeoutSeconds", /from 0\.1 to 300/],
    [nodeWith("connectTimeoutSeconds: «.nan»"), "node.connectTimeoutSeconds", /from 0\.1 to 300/],
    [nodeWith("detectTimeoutSeconds: «0»"), "node.detectTimeoutSeconds", /from 0\.1 to 86400/],
    [nodeWith("log: { level: «loud» }"), "node.log.level", /write one of debug, info, warn, error/],
    [nodeWith("pins: «/sys/fs/bpf/a.b»"), "node.pins", /does not fit here; write an absolute path without dots/],
    ["node: { name: a, cgroups: { pods: /x/pods, proxy: «/x/pods» } }", "node.cgroups.proxy", /holds the pods/],
    ["node: { name: a, cgroups: { pods: /x/pods, proxy: «/x» } }", "node.cgroups.proxy", /holds the pods/],
  ],
};

for (const [title, rows] of Object.entries(cases)) {
  describe(`${title}: the problem is told with its place`, () => {
    for (const [source, path, message] of rows) {
      test(source.trim() === "«»" ? "(nothing)" : source.trim().split("\n").at(-1)!.slice(0, 110), () => {
        const { text, line, column } = marked(source);
        const [problem, ...others] = problemsOf(text);
        assert.ok(problem, "no problem was found");
        assert.deepEqual(others, []);
        assert.match(problem.message, message);
        assert.deepEqual([problem.path, problem.line, problem.column], [path, line, column]);
      });
    }
  });
}

describe("problems in mesh.yaml", () => {
  test("are told all at once, in the order of the file, whether of shape or of reference", () => {
    const text = `noode: {}
node:
  name: a
  cgroups: { pods: /p }
  workers: many
  one: 1
  two: 2
workloads:
  - { name: w, node: a, addresses: [10.0.0.300, 10.0.0.2] }
  - { name: w, node: a, addresses: [10.0.0.2] }
services:
  - { name: s, addresses: [10.96.0.1], ports: [{ port: http }], endpoints: [nobody] }
`;
    assert.deepEqual(
      problemsOf(text).map((it) => `${it.line}:${it.column} ${it.path}`),
      [
        "1:1 noode",
        "5:12 node.workers",
        "6:3 node.one",
        "7:3 node.two",
        "9:37 workloads[0].addresses[0]",
        "10:13 workloads[1].name",
        "10:37 workloads[1].addresses[0]",
        "12:56 services[0].ports[0].port",
        "12:77 services[0].endpoints[0]",
      ],
    );
  });

  test("make one message that a person can act on", () => {
    assert.throws(() => parseMesh(nodeWith("workers: 0\n  x: 1"), "/etc/mesh.yaml"), {
      code: "CONFIG_INVALID",
      source: "config",
      message: `load /etc/mesh.yaml: 2 problems; nothing was changed; correct the file and try again
  /etc/mesh.yaml:4:12: node.workers: 0 does not fit here; write a whole number from 1 to 64
  /etc/mesh.yaml:5:3: node.x: is no key known here; write one of name, cgroups, workers, podCidrs, admin, drainTimeoutSeconds, connectTimeoutSeconds, detectTimeoutSeconds, peerTimeoutSeconds, log, pins, unknownPods, plainNamespaces, or nothing`,
    });
  });

  test("are placed in what an alias stands for", () => {
    const text = `${node}workloads:
  - { name: v, node: a, addresses: &bad [10.0.0.1, x] }
  - { name: w, node: a, addresses: [10.0.0.2], capture: *bad }
services:
  - { name: s, addresses: *bad, ports: [{ port: 1 }], endpoints: [v] }
`;
    assert.deepEqual(
      problemsOf(text).map((it) => `${it.line}:${it.column} ${it.path}`),
      [
        "3:42 services[0].addresses[0]",
        "3:52 workloads[0].addresses[1]",
        "3:52 services[0].addresses[1]",
        "4:57 workloads[1].capture",
      ],
    );
  });

  test("include aliases that multiply beyond reason, which are not expanded", () => {
    const levels = Array.from({ length: 12 }, (_, i) => `l${i + 1}: &l${i + 1} [${new Array(9).fill(`*l${i}`)}]`);
    const [problem] = problemsOf(`l0: &l0 [x]\n${levels.join("\n")}\n`);
    assert.match(problem!.message, /alias/i);
  });
});
