// Whether a mesh file fits this machine: what it names is there, and is what it should be.

import { existsSync, statfsSync, statSync } from "node:fs";
import { type LoadedMesh, loadMeshFile } from "../../discovery/file-source.ts";
import { meshWarnings } from "../../discovery/mesh-warnings.ts";
import { cgroup2Magic, findCgroupRoot } from "../../kernel/cgroup.ts";
import { layout } from "../../kernel/layout.ts";
import type { Finding } from "../../telemetry/reports.ts";
import { listeningPorts, type NetnsProcesses, processesByNetns } from "../processes.ts";
import { fault, ok, warning } from "./finding.ts";

export interface CheckedFile {
  readonly findings: readonly Finding[];
  /** undefined: it is not valid. */
  readonly mesh: LoadedMesh | undefined;
}

export function readMeshFile(path: string): CheckedFile {
  try {
    const mesh = loadMeshFile(path);
    return { findings: [ok("config", `${path} is valid: ${mesh.pods.length} pods to enroll`)], mesh };
  } catch (error) {
    const [what, ...rest] = (error as Error).message.split("\n");
    const fix = rest.length > 0 ? "correct these; culvert config validate shows the same" : "correct it";
    return { findings: [fault("config", [what, ...rest].join("\n"), fix)], mesh: undefined };
  }
}

/** `isRunning`: then the mesh's ports are the node's own. */
export function meshFindings(mesh: LoadedMesh, isRunning: boolean): Finding[] {
  const { node, pods } = mesh;
  const cgroup = podsCgroupFinding(node.cgroups.pods);
  const processes = processesByNetns();
  return [
    ...meshWarnings(mesh).map(({ message, fix }) => warning("config", message, fix)),
    cgroup,
    ...summed(
      "pods",
      pods.length,
      pods.flatMap((pod) => podFinding(pod, node.cgroups.pods, cgroup, processes)),
    ),
    ...(isRunning ? [] : portFindings(pods, processes)),
    ...(isRunning || node.admin.address === undefined ? [] : [addressFinding(node.admin.address)]),
  ];
}

function podsCgroupFinding(path: string): Finding {
  const fix = "name the cgroup above all pods in node.cgroups.pods, such as /sys/fs/cgroup/kubepods.slice";
  if (!existsSync(path)) return fault("pods-cgroup", `node.cgroups.pods: ${path} does not exist`, fix);
  if (statfsSync(path).type !== cgroup2Magic) {
    return fault("pods-cgroup", `node.cgroups.pods: ${path} is no cgroup v2 directory`, fix);
  }
  return ok("pods-cgroup", `the pods' cgroup ${path} is there`);
}

/** What is wrong with a pod. */
function podFinding(
  { name, netnsPath }: LoadedMesh["pods"][number],
  podsCgroup: string,
  cgroup: Finding,
  processes: NetnsProcesses,
): Finding[] {
  const inode = existsSync(netnsPath) ? statSync(netnsPath, { bigint: true }).ino : undefined;
  if (inode === undefined) {
    const what = `pod ${name}: its netns ${netnsPath} does not exist; it is enrolled when it does`;
    return [warning("pods", what, "start the pod, or correct its netns")];
  }
  if (inode === statSync("/proc/self/ns/net", { bigint: true }).ino) {
    return [
      warning(
        "pods",
        `pod ${name}: ${netnsPath} is the network namespace of this command`,
        "never enroll a pod with hostNetwork",
      ),
    ];
  }
  const inside = processes.get(inode) ?? [];
  if (cgroup.state !== "ok" || inside.length === 0) return [];
  const relative = podsCgroup.slice(findCgroupRoot().length) || "/";
  if (inside.some((it) => `${it.cgroup}/`.startsWith(relative === "/" ? "/" : `${relative}/`))) return [];
  const [first] = inside;
  return [
    warning(
      "pods",
      `pod ${name}: none of its processes is below ${podsCgroup}, so what they dial is not captured (process ${first!.pid} is in ${first!.cgroup})`,
      "set node.cgroups.pods to a cgroup above all pods",
    ),
  ];
}

/** The mesh's ports must be free where the proxy will listen. */
function portFindings(pods: LoadedMesh["pods"], processes: NetnsProcesses): Finding[] {
  const wanted = [layout.MESH_PORT_OUTBOUND, layout.MESH_PORT_INBOUND, layout.MESH_PORT_TUNNEL];
  const taken = pods.flatMap(({ name, netnsPath }) => {
    const inode = existsSync(netnsPath) ? statSync(netnsPath, { bigint: true }).ino : 0n;
    const pid = processes.get(inode)?.[0]?.pid;
    const ports = pid === undefined ? new Set<number>() : listeningPorts(`/proc/${pid}/net`);
    return wanted
      .filter((port) => ports.has(port))
      .map((port) =>
        fault(
          "ports",
          `pod ${name}: port ${port} is taken by a program of the pod`,
          `move that program to another port`,
        ),
      );
  });
  return summed("ports", pods.length, taken, "the mesh's ports are free in every pod");
}

function addressFinding({ host, port }: { host: string; port: number }): Finding {
  if (!listeningPorts("/proc/self/net").has(port)) return ok("ports", `node.admin.address ${host}:${port} is free`);
  return fault(
    "ports",
    `node.admin.address: port ${port} is taken by another program`,
    "choose a free port for node.admin.address",
  );
}

function summed(check: string, count: number, findings: Finding[], whenOk?: string): Finding[] {
  if (findings.length > 0 || count === 0) return findings;
  return [ok(check, whenOk ?? `the network namespaces of all ${count} pods are there`)];
}
