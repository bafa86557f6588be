// The mesh.yaml of a node, written from what the test declared.

import { renameSync, writeFileSync } from "node:fs";
import { stringify } from "yaml";
import type { CulvertOptions } from "./culvert.ts";
import type { OptOut, Pod, PodOptions } from "./pod.ts";
import type { Service } from "./service.ts";

export interface MeshFile {
  readonly node: string;
  readonly cgroups: { readonly pods: string; readonly proxy: string };
  readonly socket: string;
  /** Where the node pins its BPF objects. */
  readonly pins: string;
  /** Of all nodes. */
  readonly pods: readonly Pod[];
  readonly zones?: ReadonlyMap<string, string>;
  readonly services: ReadonlyMap<string, Service>;
  readonly options: CulvertOptions;
}

/** Replaces it atomically. */
export function writeMeshFile(path: string, mesh: MeshFile): void {
  writeFileSync(`${path}.new`, stringify(document(mesh)));
  renameSync(`${path}.new`, path);
}

function document({ node, cgroups, socket, pins, pods, zones, services, options }: MeshFile): object {
  return {
    ...(zones && { nodes: [...zones].map(([name, zone]) => ({ name, zone })) }),
    node: {
      name: node,
      cgroups: { ...cgroups, ...(options.kubelet && { kubelet: options.kubelet.cgroup }) },
      ...(options.unknownPods && { unknownPods: options.unknownPods }),
      workers: options.workers ?? 3,
      admin: { socket },
      pins,
      ...(options.podCidrs && { podCidrs: options.podCidrs }),
      ...(options.drainTimeoutSeconds && { drainTimeoutSeconds: options.drainTimeoutSeconds }),
      ...(options.peerTimeoutSeconds && { peerTimeoutSeconds: options.peerTimeoutSeconds }),
      ...(options.connectTimeoutSeconds && { connectTimeoutSeconds: options.connectTimeoutSeconds }),
      ...(options.detectTimeoutSeconds && { detectTimeoutSeconds: options.detectTimeoutSeconds }),
    },
    ...(options.nodes && { nodes: options.nodes }),
    workloads: [
      ...(options.workloads ?? []),
      ...pods.map((pod) => ({
        name: pod.name,
        node: pod.node,
        addresses: [pod.addresses.ipv4, pod.addresses.ipv6, ...(pod.options.moreAddresses ?? [])].filter(
          (address) => address !== undefined,
        ),
        ...(pod.node === node && presence(pod, options.without?.includes(pod.name))),
        ...capture(pod.options),
        ...pod.options.record,
      })),
    ],
    services: [...services.values()].map((service) => ({
      name: service.name,
      addresses: [service.addressOf(4), service.addressOf(6)].filter((address) => address !== undefined),
      ports: [
        { port: service.port, targetPort: service.targetPort, ...(service.protocol && { protocol: service.protocol }) },
      ],
      endpoints: service.endpoints.map((pod) => pod.name),
      ...service.record,
    })),
  };
}

function presence(pod: Pod, isLeftAlone = false): object {
  const { netnsPath, cgroup, options } = pod;
  const { enrolled, probePorts, namesCgroup } = options;
  return {
    ...(namesCgroup && { cgroup }),
    ...(enrolled !== "unknown" && { netns: options.netns ?? netnsPath }),
    ...((enrolled === false || isLeftAlone) && { enroll: false }),
    ...(probePorts && { probePorts }),
  };
}

function capture({ outboundOptOut, inboundOptOut, whenProxyDown }: PodOptions): object {
  if (outboundOptOut === undefined && inboundOptOut === undefined && whenProxyDown === undefined) return {};
  const direction = (optOut: readonly OptOut[] | undefined) => ({
    ...(optOut && { optOut }),
    ...(whenProxyDown && { whenProxyDown }),
  });
  return { capture: { outbound: direction(outboundOptOut), inbound: direction(inboundOptOut) } };
}
