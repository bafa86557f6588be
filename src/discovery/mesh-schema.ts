// The shape of mesh.yaml: what may stand where, defaults, and what each value becomes. What must agree between different
// places (names, addresses, references) is checked by mesh-references.ts.

import * as v from "valibot";
import { protocols } from "../mesh/protocol.ts";
import { preferences } from "../mesh/snapshot.ts";
import {
  absolutePath,
  address,
  cidr,
  fitsSocketPath,
  list,
  name,
  oneOf,
  pinsPath,
  port,
  portRange,
  record,
  seconds,
  socketAddress,
  socketPath,
  someOf,
  wholeNumber,
  yesOrNo,
} from "./fields.ts";
import { jsonSchemaOf } from "./json-schema.ts";
import { endpoint, labels, selector, targetPort, trustDomain } from "./mesh-fields.ts";
import type { DeclaredNode, NodeConfig, OptOut } from "./node-config.ts";

/** Rules per pod, and pod CIDRs, that fit into the BPF maps. */
const maxOptOutRules = 16;
const maxPodCidrs = 16;
const maxProbePorts = 4;

/** Names have dots but no underscores. */
function defaultPins(nodeName: string): string {
  return `/sys/fs/bpf/culvert/${nodeName.replaceAll(".", "_")}`;
}

function defaultSocket(nodeName: string): string {
  return `/run/culvert/${nodeName}.sock`;
}

const node = v.pipe(
  record({
    name: name("a"),
    cgroups: record({
      pods: absolutePath("/sys/fs/cgroup/kubepods.slice"),
      proxy: v.optional(absolutePath("/sys/fs/cgroup/culvert")),
      kubelet: v.optional(absolutePath("/sys/fs/cgroup/system.slice/kubelet.service")),
    }),
    workers: v.optional(wholeNumber(1, 64)),
    podCidrs: v.optional(
      v.pipe(list(cidr, "networks"), v.maxLength(maxPodCidrs, `has more than ${maxPodCidrs} networks; join some`)),
      [],
    ),
    admin: v.optional(record({ socket: v.optional(socketPath), address: v.optional(socketAddress) }), {}),
    drainTimeoutSeconds: v.optional(seconds(0, 3600), 30),
    connectTimeoutSeconds: v.optional(seconds(0.1, 300), 5),
    detectTimeoutSeconds: v.optional(seconds(0.1, 86_400), 10),
    // As long as most applications' own patience; short enough that a node does not fill up with the connections of a dead one.
    peerTimeoutSeconds: v.optional(seconds(2, 3600), 120),
    log: v.optional(record({ level: v.optional(oneOf("debug", "info", "warn", "error"), "info") }), {}),
    pins: v.optional(pinsPath),
    unknownPods: v.optional(oneOf("pass", "deny"), "pass"),
    plainNamespaces: v.optional(list(absolutePath("/run/netns/builder"), "paths of network namespaces"), []),
  }),
  v.forward(
    v.check(
      ({ name, admin }) => admin.socket !== undefined || fitsSocketPath(defaultSocket(name)),
      "is too long for the default admin socket's path; set node.admin.socket",
    ),
    ["name"],
  ),
  v.transform(
    (it): NodeConfig => ({
      name: it.name,
      cgroups: { pods: it.cgroups.pods, proxy: it.cgroups.proxy, kubelet: it.cgroups.kubelet },
      unknownPods: it.unknownPods,
      plainNamespaces: it.plainNamespaces,
      workers: it.workers,
      podCidrs: it.podCidrs,
      admin: { socket: it.admin.socket ?? defaultSocket(it.name), address: it.admin.address },
      drainTimeoutMs: it.drainTimeoutSeconds,
      connectTimeoutMs: it.connectTimeoutSeconds,
      detectTimeoutMs: it.detectTimeoutSeconds,
      peerTimeoutMs: it.peerTimeoutSeconds,
      logLevel: it.log.level,
      pins: it.pins ?? defaultPins(it.name),
    }),
  ),
);

const optOut = v.pipe(
  record({ ports: v.optional(someOf(portRange, "ports")), cidr: v.optional(cidr) }),
  v.check(
    (it) => it.ports !== undefined || it.cidr !== undefined,
    'says neither ports nor cidr; write ports: ["1-65535"] to opt out of everything',
  ),
  v.transform((it): OptOut => ({ address: it.cidr, ports: it.ports ?? [] })),
);
const captureDirection = {
  optOut: v.optional(list(optOut, "rules {ports, cidr}"), []),
  whenProxyDown: v.optional(oneOf("pass", "deny"), "pass"),
};

const capture = v.pipe(
  record({
    outbound: v.optional(record({ ...captureDirection, egress: v.optional(oneOf("ignore", "observe"), "ignore") }), {}),
    inbound: v.optional(record(captureDirection), {}),
  }),
  // A rule is kept once per port range.
  v.check(
    ({ outbound, inbound }) =>
      [...outbound.optOut, ...inbound.optOut].reduce((sum, it) => sum + Math.max(it.ports.length, 1), 0) <=
      maxOptOutRules,
    `has more than ${maxOptOutRules} opt-out rules, each port or range counted; join ranges or networks`,
  ),
);

const defaultNamespace = v.optional(name("default"), "default");

const zone = v.optional(name("eu-1a"));

/** This node, of whose addresses those that an interface has need not be named, or another. */
const meshNode = v.pipe(
  record({ name: name("a"), addresses: v.optional(list(address, "the node's IP addresses"), []), zone }),
  v.transform((it): DeclaredNode => ({ name: it.name, addresses: it.addresses, zone: it.zone })),
);

export const workload = record({
  name: name("web-1"),
  namespace: defaultNamespace,
  serviceAccount: v.optional(name("web"), "default"),
  node: name("a"),
  addresses: someOf(address, "the pod's IP addresses"),
  netns: v.optional(absolutePath("/run/netns/web-1")),
  enroll: v.optional(yesOrNo, true),
  cgroup: v.optional(absolutePath("/sys/fs/cgroup/kubepods.slice/pod-web-1")),
  probePorts: v.optional(
    v.pipe(list(port, "ports"), v.maxLength(maxProbePorts, `has more than ${maxProbePorts} ports`)),
    [],
  ),
  labels: v.optional(labels, {}),
  zone,
  ready: v.optional(yesOrNo, true),
  ports: v.optional(list(record({ name: name("http"), port }), "ports such as {name: http, port: 8080}"), []),
  capture: v.optional(capture, {}),
});

const servicePort = v.pipe(
  record({
    port,
    name: v.optional(name("http")),
    targetPort: v.optional(targetPort),
    protocol: v.optional(oneOf(...protocols)),
  }),
  v.transform((it) => ({
    port: it.port,
    name: it.name,
    targetPort: it.targetPort ?? it.port,
    protocol: it.protocol,
  })),
);

export const service = v.pipe(
  record({
    name: name("web"),
    namespace: defaultNamespace,
    addresses: someOf(address, "the service's IP addresses"),
    ports: someOf(servicePort, "ports such as {port: 80, targetPort: 8080}"),
    selector: v.optional(selector),
    endpoints: v.optional(list(endpoint, "names of workloads, or {workload: web-1, ready: false}")),
    prefer: v.optional(oneOf(...preferences), "zone"),
    sessionAffinity: v.optional(oneOf("none", "clientAddress"), "none"),
  }),
  v.check(
    (it) => it.selector !== undefined || it.endpoints !== undefined,
    "says neither selector nor endpoints; write selector: {app: web}, or endpoints: [] for a service that refuses",
  ),
  v.check(
    (it) => it.selector === undefined || it.endpoints === undefined,
    "says both selector and endpoints; write one of them",
  ),
);

export const meshDocument = record({
  trustDomain: v.optional(trustDomain, "cluster.local"),
  node,
  nodes: v.optional(list(meshNode, "nodes such as {name: a, addresses: [192.0.2.1], zone: eu-1a}"), []),
  workloads: v.optional(list(workload, "workloads"), []),
  services: v.optional(list(service, "services"), []),
});
export type MeshDocument = v.InferOutput<typeof meshDocument>;
export type WorkloadEntry = v.InferOutput<typeof workload>;
export type ServiceEntry = v.InferOutput<typeof service>;

/** For editors: `# yaml-language-server: $schema=…`. Written to schema/mesh.schema.json by `npm run schema`. */
export function meshJsonSchema(): object {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "mesh.yaml of Culvert",
    ...jsonSchemaOf(meshDocument),
  };
}
