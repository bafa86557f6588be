// Discovery out of one YAML file, mesh.yaml: applied whole or not at all.

import { readFileSync } from "node:fs";
import * as v from "valibot";
import { isSame } from "../mesh/mesh-delta.ts";
import { labelOf, type MeshSnapshot, type Service, type Workload } from "../mesh/snapshot.ts";
import { culvertError } from "../telemetry/errors.ts";
import { ConfigError, type ConfigProblem } from "./config-error.ts";
import { EntryCache, parsedOf, valuesOf } from "./entry-cache.ts";
import { fixedKeyProblems } from "./fixed-keys.ts";
import { LabelIndex } from "./label-index.ts";
import { checkReferences, resolveLabel } from "./mesh-references.ts";
import { type MeshDocument, meshDocument, type ServiceEntry, type WorkloadEntry } from "./mesh-schema.ts";
import type { DeclaredNode, LocalPod, NodeConfig } from "./node-config.ts";
import { splitDocument } from "./split-document.ts";
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
  /** Of what was last loaded well. */
  #text: string | undefined;
  readonly #cache: EntryCache;

  constructor(path: string) {
    this.path = path;
    this.#text = undefined;
    this.#cache = new EntryCache();
  }

  /**
   * As `loadMeshFile`; undefined when the file is as it was when it was last loaded well. `running`: what is in force; the
   * file may not say otherwise where that cannot change.
   */
  load(running?: LoadedMesh): LoadedMesh | undefined {
    const text = readText(this.path);
    if (text === this.#text) return undefined;
    const loaded = parseMesh(text, this.path, running, this.#cache);
    this.#text = text;
    return loaded;
  }

  /** What was loaded last did not come into force. */
  forget(): void {
    this.#text = undefined;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw culvertError(
      "CONFIG_UNREADABLE",
      { path, reason: error instanceof Error ? error.message : String(error) },
      error,
    );
  }
}

/** `file` is how errors call the text. */
export function parseMesh(text: string, file: string, running?: LoadedMesh, cache = new EntryCache()): LoadedMesh {
  const document = parseEntries(text, cache, running?.node) ?? parseWhole(text, file, running?.node);
  return build(document, (running?.snapshot.version ?? 0) + 1);
}

/** Only what is new is read. Undefined: something is not well, or not plain; what, the document as a whole tells. */
function parseEntries(text: string, cache: EntryCache, running: NodeConfig | undefined): MeshDocument | undefined {
  const split = splitDocument(text);
  if (split === undefined || split.lists.size === 0) return undefined;
  const source = new YamlSource(split.rest);
  const rest = source.problems.length > 0 ? undefined : v.safeParse(meshDocument, source.value);
  if (!rest?.success) return undefined;
  const workloads = cache.read("workloads", split.lists.get("workloads") ?? []);
  const services = cache.read("services", split.lists.get("services") ?? []);
  if (workloads === undefined || services === undefined) return undefined;
  const value = { ...(source.value as object), workloads: valuesOf(workloads), services: valuesOf(services) };
  let isGood = running === undefined || fixedKeyProblems(running, rest.output.node).length === 0;
  checkReferences(value, () => {
    isGood = false;
  });
  if (!isGood) return undefined;
  return { ...rest.output, workloads: parsedOf(workloads), services: parsedOf(services) };
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

function build(document: MeshDocument, version: number): LoadedMesh {
  const { node, nodes, workloads } = document;
  const zones = new Map(nodes.map((it) => [it.name, it.zone]));
  const selectable = new LabelIndex(workloads);
  return {
    node,
    nodes,
    snapshot: {
      version,
      trustDomain: document.trustDomain,
      node: node.name,
      zone: zones.get(node.name),
      workloads: workloads.map((it) => workloadOf(it, it.zone ?? zones.get(it.node))),
      services: document.services.map((it) => serviceOf(it, selectable)),
    },
    plainNamespaces: [
      ...node.plainNamespaces,
      ...workloads.flatMap((it) => (it.node === node.name && !it.enroll ? (it.netns ?? []) : [])),
    ],
    pods: workloads.flatMap((it) =>
      it.netns === undefined || it.node !== node.name || !it.enroll ? [] : [podOf(it, it.netns)],
    ),
  };
}

/** Of entries that were seen before: what is still so is the same object, by which changeOf sees it at once. */
const knownWorkloads = new WeakMap<WorkloadEntry, Workload>();
const knownServices = new WeakMap<ServiceEntry, Service>();

function workloadOf(entry: WorkloadEntry, zone: string | undefined): Workload {
  const known = knownWorkloads.get(entry);
  if (known !== undefined && known.zone === zone) return known;
  const { name, namespace, serviceAccount, node, addresses, ready: isReady, ports } = entry;
  const workload = { name, namespace, serviceAccount, node, zone, addresses, isReady, ports };
  knownWorkloads.set(entry, workload);
  return workload;
}

function serviceOf(entry: ServiceEntry, selectable: LabelIndex<WorkloadEntry>): Service {
  const { name, namespace, addresses, ports, selector } = entry;
  const listed = entry.endpoints ?? [];
  const labelOfEndpoint = ({ workload }: { workload: string }) => resolveLabel(workload, namespace);
  const endpoints =
    selector === undefined ? listed.map(labelOfEndpoint) : selectable.select(namespace, selector).map(labelOf);
  const known = knownServices.get(entry);
  if (known !== undefined && isSame(known.endpoints, endpoints)) return known;
  const service: Service = {
    name,
    namespace,
    addresses,
    ports,
    endpoints,
    notReady: listed.filter(({ ready }) => !ready).map(labelOfEndpoint),
    preference: entry.prefer,
    hasAffinity: entry.sessionAffinity === "clientAddress",
  };
  knownServices.set(entry, service);
  return service;
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
