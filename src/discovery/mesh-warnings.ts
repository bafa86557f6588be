// What a valid mesh.yaml says and hardly means: told, and applied all the same.

import type { LoadedMesh } from "./file-source.ts";
import { nearest } from "./nearest.ts";

export interface MeshWarning {
  readonly message: string;
  readonly fix: string;
}

/** More would only be a longer line. */
const maxNames = 5;

export function meshWarnings({ node, nodes, snapshot }: LoadedMesh): MeshWarning[] {
  const { workloads } = snapshot;
  // Of a node that is listed every workload's node was checked: it may well have none yet.
  if (workloads.length === 0 || nodes.some(({ name }) => name === node.name)) return [];
  if (workloads.some((it) => it.node === node.name)) return [];
  const others = [...new Set(workloads.map((it) => it.node))];
  const more = others.length > maxNames ? ` and ${others.length - maxNames} more` : "";
  const meant = nearest(node.name, others);
  return [
    {
      message: `no workload is on node ${node.name}, so it has no pods: the workloads are on ${others.slice(0, maxNames).join(", ")}${more}`,
      fix: meant === undefined ? "correct node.name, or node of the workloads" : `did you mean ${meant}?`,
    },
  ];
}
