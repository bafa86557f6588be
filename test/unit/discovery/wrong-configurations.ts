// Every mistake in mesh.yaml that is found, one a row: the text, with the place that must be reported between «», the path,
// and what the message must say.

/** Takes the marks out and tells where the first stood. */
export function marked(text: string): { text: string; line: number; column: number } {
  const before = text.slice(0, text.indexOf("«"));
  const line = before.split("\n").length;
  return { text: text.replaceAll(/[«»]/g, ""), line, column: before.length - before.lastIndexOf("\n") };
}

export const node = "node: { name: a, cgroups: { pods: /p } }\n";
export const nodeWith = (entry: string) => `node:\n  name: a\n  cgroups: { pods: /p }\n  ${entry}\n`;
const workloads = (...entries: string[]) => `${node}workloads:\n${entries.map((it) => `  - ${it}\n`).join("")}`;
const services = (...entries: string[]) =>
  `${workloads("{ name: w, node: a, addresses: [10.0.0.1] }")}services:\n${entries.map((it) => `  - ${it}\n`).join("")}`;
const serviceWith = (entry: string) => services(`{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }], ${entry} }`);
const optOut = (rules: string) =>
  workloads(`{ name: w, node: a, addresses: [10.0.0.1], capture: { outbound: { optOut: ${rules} } } }`);
const ruleList = (count: number) => `[${new Array<string>(count).fill("{ ports: [1] }").join(", ")}]`;

export type Case = readonly [text: string, path: string, message: RegExp];
export const wrongConfigurations: Record<string, readonly Case[]> = {
  "a document of another shape": [
    ["«»", "", /there is no value; write a mapping of trustDomain, node, nodes, workloads, services/],
    ["«- a»", "", /a list does not fit here; write a mapping/],
    [
      `${node}nodes: [{ name: b, addresses: [192.0.2.1] }, { name: «b», addresses: [192.0.2.2] }]`,
      "nodes[1].name",
      /b is already the name of nodes\[0\]\.name; choose another/,
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
  "what stands behind a service": [
    [
      services("«{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }] }»"),
      "services[0]",
      /says neither selector nor endpoints; write selector: \{app: web\}/,
    ],
    [
      services("«{ name: s, addresses: [10.96.0.1], ports: [{ port: 1 }], endpoints: [w], selector: { app: w } }»"),
      "services[0]",
      /says both selector and endpoints; write one of them/,
    ],
    [serviceWith("selector: «{}»"), "services[0].selector", /is empty and would select every workload/],
    [serviceWith("selector: «app»"), "services[0].selector", /"app" does not fit here; write labels/],
    [serviceWith("selector: { app: «1» }"), "services[0].selector.app", /1 does not fit here; .*quoted if all digits/],
    [
      serviceWith("selector: { «a b»: x }"),
      "services[0].selector.a b",
      /is no name for a label; write one such as app/,
    ],
    [
      serviceWith("endpoints: [{ workload: w, «redy»: false }]"),
      "services[0].endpoints[0].redy",
      /is no key known here; did you mean ready\?/,
    ],
    [
      serviceWith("endpoints: [«{ ready: true }»]"),
      "services[0].endpoints[0].workload",
      /is missing; write the name of/,
    ],
    [
      serviceWith("endpoints: [{ workload: w, ready: «yes» }]"),
      "services[0].endpoints[0].ready",
      /write true or false/,
    ],
    [
      serviceWith("endpoints: [{ workload: «database» }]"),
      "services[0].endpoints[0].workload",
      /no workload is called default\/database; add it/,
    ],
    [serviceWith("endpoints: [w], prefer: «zones»"), "services[0].prefer", /did you mean zone\?/],
    [
      serviceWith("endpoints: [w], sessionAffinity: «clientIP»"),
      "services[0].sessionAffinity",
      /write one of none, clientAddress/,
    ],
  ],
  "ports by name": [
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1, targetPort: «http» }], endpoints: [w] }"),
      "services[0].ports[0].targetPort",
      /no workload behind the service has a port named http; write a number/,
    ],
    [
      `${workloads("{ name: w, node: a, addresses: [10.0.0.1], labels: { app: w }, ports: [{ name: http, port: 80 }] }")}services:
  - { name: s, addresses: [10.96.0.1], ports: [{ port: 1, targetPort: «htpp» }], selector: { app: w } }`,
      "services[0].ports[0].targetPort",
      /no workload behind the service has a port named htpp; did you mean http\?/,
    ],
    [
      workloads(
        "{ name: w, node: a, addresses: [10.0.0.1], ports: [{ name: http, port: 80 }, { name: «http», port: 81 }] }",
      ),
      "workloads[0].ports[1].name",
      /http is already the name of workloads\[0\]\.ports\[0\]\.name/,
    ],
    [
      services("{ name: s, addresses: [10.96.0.1], ports: [{ port: 1, protocol: «htttp» }], endpoints: [] }"),
      "services[0].ports[0].protocol",
      /"htttp" does not fit here \(did you mean http\?\); write one of http, http2, grpc, tls, opaque/,
    ],
  ],
  nodes: [
    [`${node}nodes: «{ a: {} }»`, "nodes", /a mapping does not fit here; write a list of nodes/],
    [`${node}nodes: [{ name: a }, { name: «a» }]`, "nodes[1].name", /a is already the name of nodes\[0\]\.name/],
    [
      `${node}nodes: [{ name: a, addresses: [192.0.2.1] }, { name: b, addresses: [«192.0.2.1»] }]`,
      "nodes[1].addresses[0]",
      /192\.0\.2\.1 is already used as nodes\[0\]\.addresses\[0\]; an address belongs to one node or one service/,
    ],
    [
      services("{ name: s, addresses: [«192.0.2.1»], ports: [{ port: 1 }], endpoints: [] }").replace(
        "workloads:",
        "nodes: [{ name: a, addresses: [192.0.2.1] }]\nworkloads:",
      ),
      "services[0].addresses[0]",
      /192\.0\.2\.1 is already used as nodes\[0\]\.addresses\[0\]/,
    ],
    [
      workloads("{ name: w, node: «wroker-1», addresses: [10.0.0.1] }").replace(
        "workloads:",
        "nodes: [{ name: worker-1 }]\nworkloads:",
      ),
      "workloads[0].node",
      /no node is called wroker-1; did you mean worker-1\?/,
    ],
    [`${node}nodes: [{ name: a, zone: «Z» }]`, "nodes[0].zone", /write a name such as eu-1a/],
    [`trustDomain: «a/b»\n${node}`, "trustDomain", /write a trust domain such as cluster\.local/],
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1], capture: { outbound: { egress: «all» } } }"),
      "workloads[0].capture.outbound.egress",
      /write one of ignore, observe/,
    ],
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1], capture: { inbound: { «egress»: observe } } }"),
      "workloads[0].capture.inbound.egress",
      /is no key known here; write one of optOut, whenProxyDown/,
    ],
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1], labels: { version: «1.0» } }"),
      "workloads[0].labels.version",
      /1 does not fit here; write letters.*quoted if all digits/,
    ],
    [
      workloads("{ name: w, node: a, addresses: [10.0.0.1], serviceAccount: «x_y» }"),
      "workloads[0].serviceAccount",
      /write a name such as web/,
    ],
    [workloads("{ name: w, node: a, addresses: [10.0.0.1], ready: «1» }"), "workloads[0].ready", /write true or false/],
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
