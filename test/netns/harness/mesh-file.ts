// The mesh.yaml of a node, written from what the test declared.

import { writeFileSync } from "node:fs";
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
  readonly pods: readonly Pod[];
  readonly services: ReadonlyMap<string, Service>;
  readonly options: CulvertOptions;
}

export function writeMeshFile(path: string, mesh: MeshFile): void {
  writeFileSync(path, stringify(document(mesh)));
}

function document({ node, cgroups, socket, pins, pods, services, options }: MeshFile): object {
  return {
    node: {
      name: node,
      cgroups: { ...cgroups, ...(options.kubelet && { kubelet: options.kubelet.cgroup }) },
      ...(options.unknownPods && { unknownPods: options.unknownPods }),
      workers: options.workers ?? 2,
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
        node,
        addresses: [pod.addresses.ipv4, pod.addresses.ipv6, ...(pod.options.moreAddresses ?? [])].filter(
          (address) => address !== undefined,
        ),
        ...presence(pod, options.without?.includes(pod.name)),
        ...capture(pod.options),
      })),
    ],
    services: [...services.values()].map((service) => ({
      name: service.name,
      addresses: [service.addressOf(4), service.addressOf(6)].filter((address) => address !== undefined),
      ports: [
        { port: service.port, targetPort: service.targetPort, ...(service.protocol && { protocol: service.protocol }) },
      ],
      endpoints: service.endpoints.map((pod) => pod.name),
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
