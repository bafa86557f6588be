// Discovery out of one YAML file, mesh.yaml: applied whole or not at all.

import { readFileSync } from "node:fs";
import * as v from "valibot";
import { labelOf, type MeshSnapshot } from "../mesh/snapshot.ts";
import { culvertError } from "../telemetry/errors.ts";
import { ConfigError, type ConfigProblem } from "./config-error.ts";
import { fixedKeyProblems } from "./fixed-keys.ts";
import { MeshReader, madeOfWhole, type ReadMesh } from "./mesh-reader.ts";
import { checkReferences } from "./mesh-references.ts";
import { type MeshDocument, meshDocument, type WorkloadEntry } from "./mesh-schema.ts";
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
export function loadMeshFile(path: string): LoadedMesh {
  return new MeshFile(path).load()!;
}

/** A file that is loaded again and again. */
export class MeshFile {
  readonly path: string;
  /** What was last loaded well. */
  #source: Buffer | undefined;
  readonly #reader: MeshReader;

  constructor(path: string) {
    this.path = path;
    this.#source = undefined;
    this.#reader = new MeshReader();
  }

  /**
   * As `loadMeshFile`; undefined when the file is as it was when it was last loaded well. `running`: what is in force; the
   * file may not say otherwise where that cannot change.
   */
  load(running?: LoadedMesh): LoadedMesh | undefined {
    const source = readSource(this.path);
    if (this.#source?.equals(source)) return undefined;
    const loaded = parseSource(source, this.path, running, this.#reader);
    this.#source = source;
    return loaded;
  }

  /** What was loaded last did not come into force. */
  forget(): void {
    this.#source = undefined;
  }
}

function readSource(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw culvertError(
      "CONFIG_UNREADABLE",
      { path, reason: error instanceof Error ? error.message : String(error) },
      error,
    );
  }
}

/** `file` is how errors call the text; `reader`: of the texts before this one. */
export function parseMesh(text: string, file: string, running?: LoadedMesh, reader?: MeshReader): LoadedMesh {
  return parseSource(Buffer.from(text), file, running, reader);
}

function parseSource(source: Buffer, file: string, running?: LoadedMesh, reader = new MeshReader()): LoadedMesh {
  const read = reader.read(source, running?.node) ?? madeOfWhole(parseWhole(source.toString(), file, running?.node));
  return build(read, (running?.snapshot.version ?? 0) + 1);
}

function parseWhole(text: string, file: string, running: NodeConfig | undefined): MeshDocument {
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
  if (parsed.success && running !== undefined) {
    for (const { key, message } of fixedKeyProblems(running, parsed.output.node)) {
      problems.push(source.problem(["node", key], "value", message));
    }
  }
  if (!parsed.success || problems.length > 0) throw new ConfigError(file, problems);
  return parsed.output;
}

function build({ root, entries, workloads, services }: ReadMesh, version: number): LoadedMesh {
  const { trustDomain, node, nodes } = root;
  const zone = nodes.find((it) => it.name === node.name)?.zone;
  const local = entries.filter(({ parsed }) => parsed.netns !== undefined && parsed.node === node.name);
  return {
    node,
    nodes,
    snapshot: { version, trustDomain, node: node.name, zone, workloads, services },
    plainNamespaces: [...node.plainNamespaces, ...local.flatMap(({ parsed }) => (parsed.enroll ? [] : parsed.netns!))],
    pods: local.flatMap(({ parsed }) => (parsed.enroll ? podOf(parsed, parsed.netns!) : [])),
  };
}

function podOf(entry: WorkloadEntry, netnsPath: string): LocalPod {
  const { outbound, inbound } = entry.capture;
  return {
    name: labelOf(entry),
    netnsPath,
    addresses: entry.addresses,
    outboundOptOuts: outbound.optOut,
    inboundOptOuts: inbound.optOut,
    outboundStrict: outbound.whenProxyDown === "deny",
    inboundStrict: inbound.whenProxyDown === "deny",
    observesEgress: outbound.egress === "observe",
    probePorts: entry.probePorts,
    cgroupPath: entry.cgroup,
  };
}
