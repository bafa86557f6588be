// What a running node cannot take over from a changed file. Everything about the node but what is listed here is fixed: where
// it stands, what it has pinned and how many threads it has were decided when it started.

import { isSame } from "../mesh/mesh-delta.ts";
import type { NodeConfig } from "./node-config.ts";

const changeable: ReadonlySet<keyof NodeConfig> = new Set([
  "podCidrs",
  "unknownPods",
  "plainNamespaces",
  "drainTimeoutMs",
  "connectTimeoutMs",
  "logLevel",
] as const);

/** Keys of `node` in mesh.yaml, each with what is wrong. */
export function fixedKeyProblems(running: NodeConfig, next: NodeConfig): { key: string; message: string }[] {
  return (Object.keys(running) as (keyof NodeConfig)[])
    .filter((key) => !changeable.has(key) && !isSame(running[key], next[key]))
    .map((key) => ({
      key: key.replace(/Ms$/, "Seconds"), // As mesh.yaml has it.
      message: `cannot change while the node runs; put ${textOf(running[key])} back, or restart Culvert`,
    }));
}

function textOf(value: unknown): string {
  return value === undefined ? "the default" : JSON.stringify(value);
}
