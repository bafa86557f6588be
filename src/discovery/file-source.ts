// Discovery out of one YAML file, mesh.yaml: applied whole or not at all.

import { readFileSync } from "node:fs";
import * as v from "valibot";
import { labelOf, type MeshSnapshot } from "../mesh/snapshot.ts";
import { culvertError } from "../telemetry/errors.ts";
import { ConfigError, type ConfigProblem } from "./config-error.ts";
import { checkReferences, resolveLabel } from "./mesh-references.ts";
import { type MeshDocument, meshDocument } from "./mesh-schema.ts";
import type { DeclaredNode, LocalPod, NodeConfig } from "./node-config.ts";
import { YamlSource } from "./yaml-source.ts";

export interface LoadedMesh {
  readonly node: NodeConfig;
  readonly snapshot: MeshSnapshot;
  /** The workloads of this node that have a netns and are to be enrolled. */
  readonly pods: readonly LocalPod[];
  /** Paths of this node's namespaces that are known not to be enrolled. */
  readonly plainNamespaces: readonly string[];
  readonly nodes: readonly DeclaredNode[];
}

/** Throws a ConfigError that lists all problems of the file, or CONFIG_UNREADABLE. */
export function loadMeshFile(path: string, version = 1): LoadedMesh {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw culvertError(
      "CONFIG_UNREADABLE",
      { path, reason: error instanceof Error ? error.message : String(error) },
      error,
    );
  }
  return parseMesh(text, path, version);
}

/** `file` is how errors call the text. */
export function parseMesh(text: string, file: string, version = 1): LoadedMesh {
  const source = new YamlSource(text);
  // What a broken document seems to say would only raise problems that are not there.
  if (source.problems.length > 0) throw new ConfigError(file, source.problems);
  const problems: ConfigProblem[] = [];
  const parsed = v.safeParse(meshDocument, source.value);
  for (const issue of parsed.issues ?? []) {
    const path = (issue.path ?? []).map((it) => it.key as string | number);
    problems.push(source.problem(path, issue.path?.at(-1)?.origin === "key" ? "key" : "value", issue.message));
  }
  checkReferences(source.value, (place, message) => problems.push(source.problem(place, "value", message)));
  if (!parsed.success || problems.length > 0) throw new ConfigError(file, problems);
  return build(parsed.output, version);
}

function build({ node, nodes, workloads, services }: MeshDocument, version: number): LoadedMesh {
  const indexOf = new Map(workloads.map((it, index) => [labelOf(it), index]));
  return {
    node,
    nodes,
    snapshot: {
      version,
      node: node.name,
      workloads: workloads.map((it) => ({
        name: it.name,
        namespace: it.namespace,
        node: it.node,
        addresses: it.addresses,
      })),
      services: services.map((it) => ({
        name: it.name,
        namespace: it.namespace,
        addresses: it.addresses,
        ports: it.ports,
        endpoints: it.endpoints.map((reference) => indexOf.get(resolveLabel(reference, it.namespace))!),
      })),
    },
    plainNamespaces: [
      ...node.plainNamespaces,
      ...workloads.flatMap((it) => (it.node === node.name && !it.enroll ? (it.netns ?? []) : [])),
    ],
    pods: workloads.flatMap((it, workload) => {
      if (it.netns === undefined || it.node !== node.name || !it.enroll) return [];
      const { outbound, inbound } = it.capture;
      return [
        {
          workload,
          name: labelOf(it),
          netnsPath: it.netns,
          addresses: it.addresses,
          outboundOptOuts: outbound.optOut,
          inboundOptOuts: inbound.optOut,
          outboundStrict: outbound.whenProxyDown === "deny",
          inboundStrict: inbound.whenProxyDown === "deny",
          probePorts: it.probePorts,
          cgroupPath: it.cgroup,
        },
      ];
    }),
  };
}
