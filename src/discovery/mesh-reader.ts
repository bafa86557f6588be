// Reads a mesh.yaml again and again: only what is new in it is read, checked and made anew. What cannot be taken apart, or of
// which anything is not well, is not read here but as a whole, which is also where errors get their words.

import * as v from "valibot";
import { isSame } from "../mesh/mesh-delta.ts";
import { labelOf, type Service, type Workload } from "../mesh/snapshot.ts";
import { Backing, listedBy } from "./backing.ts";
import { Claims } from "./claims.ts";
import { type ChangedPieces, isEntry, type Piece, piecesOf, restOf } from "./document-pieces.ts";
import { type Entry, type EntryOfService, type EntryOfWorkload, entryOfService, entryOfWorkload } from "./entry.ts";
import { fixedKeyProblems } from "./fixed-keys.ts";
import { checkReferences } from "./mesh-references.ts";
import { type MeshDocument, meshDocument } from "./mesh-schema.ts";
import type { NodeConfig } from "./node-config.ts";
import { YamlSource } from "./yaml-source.ts";

/** A document, and what was made of its entries. */
export interface ReadMesh {
  readonly root: Pick<MeshDocument, "trustDomain" | "node" | "nodes">;
  readonly entries: readonly EntryOfWorkload[];
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
}

/** Changes beyond which indexing all of it anew costs less than taking out of long lists. */
const maxChanges = 1000;

interface Rest {
  readonly text: string;
  readonly output: MeshDocument;
}

/** What the last text that was read well says, to go on from. */
interface Known {
  readonly pieces: ChangedPieces;
  readonly rest: Rest;
  /** Undefined: a load came to nothing half-way. */
  index: { readonly claims: Claims; readonly backing: Backing } | undefined;
}

interface Lists {
  readonly workloads: readonly EntryOfWorkload[];
  readonly services: readonly EntryOfService[];
}

export class MeshReader {
  #known: Known | undefined;

  constructor() {
    this.#known = undefined;
  }

  /** Undefined: something is not well, or not plain; what, the document as a whole tells. */
  read(source: Buffer, running: NodeConfig | undefined): ReadMesh | undefined {
    const before = this.#known;
    const pieces = piecesOf(source, before?.pieces);
    if (pieces === undefined) return undefined;
    const text = restOf(pieces.all);
    const rest = text === before?.rest.text ? before.rest : readRest(text);
    if (rest === undefined) return undefined;
    if (running !== undefined && fixedKeyProblems(running, rest.output.node).length > 0) return undefined;
    const lists = listsOf(pieces.all);
    const { workloads, services } = lists;
    const index = before !== undefined && haveSameNodes(before.rest, rest) ? before.index : undefined;
    const changes = pieces.added.length + pieces.removed.length;
    if (before !== undefined) before.index = undefined;
    const moved = arrange(workloads);
    let changed: Iterable<EntryOfService> | undefined = services;
    let next = index;
    if (next === undefined || changes > maxChanges) {
      next = { claims: new Claims(rest.output.node, rest.output.nodes), backing: new Backing() };
      if (!addAll(next, [...workloads, ...services])) return undefined;
    } else {
      changed = change(next, pieces, moved);
      if (changed === undefined) return undefined;
    }
    const behind = backed(next.backing, changed);
    if (behind === undefined) return undefined;
    this.#known = { pieces, rest, index: next };
    return made(rest.output, lists, behind);
  }
}

/** Of a document that was read, and checked, as a whole. */
export function madeOfWhole(document: MeshDocument): ReadMesh {
  const workloads = document.workloads.map(entryOfWorkload);
  const services = document.services.map(entryOfService);
  arrange(workloads);
  const backing = new Backing();
  for (const it of workloads) backing.addWorkload(it);
  for (const it of services) backing.addService(it);
  return made(document, { workloads, services }, backed(backing, services)!);
}

/** After empty lines and comments a key at the beginning of a line: as deep as that of the lists, and not in a flow mapping. */
const plainBeginning = /^(?: *(?:#.*)?\n)*[a-z]/i;

function readRest(text: string): Rest | undefined {
  if (!plainBeginning.test(text)) return undefined;
  const { value, problems } = new YamlSource(text);
  if (problems.length > 0 || typeof value !== "object" || value === null) return undefined;
  // In another style than a block, or twice.
  if ("workloads" in value || "services" in value) return undefined;
  const parsed = v.safeParse(meshDocument, value);
  let isGood = parsed.success;
  checkReferences(value, () => {
    isGood = false;
  });
  return parsed.success && isGood ? { text, output: parsed.output } : undefined;
}

/** On which all that is indexed depends. */
function haveSameNodes({ output: a }: Rest, { output: b }: Rest): boolean {
  return a === b || (a.node.name === b.node.name && isSame(a.nodes, b.nodes));
}

function listsOf(pieces: readonly Piece[]): Lists {
  const workloads: EntryOfWorkload[] = [];
  const services: EntryOfService[] = [];
  for (const piece of pieces) {
    if (!isEntry(piece)) continue;
    if (piece.entry.list === "workloads") workloads.push(piece.entry);
    else services.push(piece.entry);
  }
  return { workloads, services };
}

/** Tells workloads their positions. Returns those that changed places with others. */
function arrange(workloads: readonly EntryOfWorkload[]): EntryOfWorkload[] {
  const moved: EntryOfWorkload[] = [];
  let furthest = -1;
  for (let i = 0; i < workloads.length; i++) {
    const workload = workloads[i]!;
    const { position } = workload;
    workload.position = i;
    if (position > furthest) furthest = position;
    else if (position >= 0) moved.push(workload);
  }
  return moved;
}

function addAll({ claims, backing }: NonNullable<Known["index"]>, entries: readonly Entry[]): boolean {
  for (const entry of entries) {
    if (!claims.add(entry)) return false;
    if (entry.list === "workloads") backing.addWorkload(entry);
    else backing.addService(entry);
  }
  return true;
}

/** Returns the services behind which something may have changed, new ones included; undefined: it is not well. */
function change(
  index: NonNullable<Known["index"]>,
  { removed, added }: ChangedPieces,
  moved: readonly EntryOfWorkload[],
): Set<EntryOfService> | undefined {
  const { claims, backing } = index;
  for (const entry of removed) {
    claims.remove(entry);
    if (entry.list === "workloads") backing.removeWorkload(entry);
    else backing.removeService(entry);
  }
  if (!addAll(index, added)) return undefined;
  const changed = new Set<EntryOfService>();
  for (const entry of [...removed, ...added, ...moved]) {
    if (entry.list === "workloads") for (const service of backing.servicesOf(entry)) changed.add(service);
  }
  for (const entry of added) if (entry.list === "services") changed.add(entry);
  return changed;
}

type Behind = ReadonlyMap<EntryOfService, readonly EntryOfWorkload[]>;

/** Undefined: something that a service names is not there. */
function backed(backing: Backing, services: Iterable<EntryOfService>): Behind | undefined {
  const all = new Map<EntryOfService, readonly EntryOfWorkload[]>();
  for (const service of services) {
    const behind = backing.behind(service);
    if (behind === undefined || !haveTargets(service, behind)) return undefined;
    all.set(service, behind);
  }
  return all;
}

/** Each port that the service calls by name, some workload has. */
function haveTargets({ parsed: { ports } }: EntryOfService, behind: readonly EntryOfWorkload[]): boolean {
  return (
    behind.length === 0 ||
    ports.every(
      ({ targetPort }) =>
        typeof targetPort === "number" ||
        behind.some(({ parsed }) => parsed.ports.some((it) => it.name === targetPort)),
    )
  );
}

function made(root: ReadMesh["root"], { workloads, services }: Lists, behind: Behind): ReadMesh {
  const zones = new Map(root.nodes.map((it) => [it.name, it.zone]));
  for (const [service, workloads] of behind) service.made = serviceOf(service, workloads);
  return {
    root,
    entries: workloads,
    workloads: workloads.map((it) => {
      it.made = workloadOf(it, it.parsed.zone ?? zones.get(it.parsed.node));
      return it.made;
    }),
    services: services.map((it) => it.made!),
  };
}

/** What is still so is the same object, by which changeOf sees it at once. */
function workloadOf({ parsed, made }: EntryOfWorkload, zone: string | undefined): Workload {
  if (made !== undefined && made.zone === zone) return made;
  const { name, namespace, serviceAccount, node, addresses, ready: isReady, ports } = parsed;
  return { name, namespace, serviceAccount, node, zone, addresses, isReady, ports };
}

function serviceOf(entry: EntryOfService, workloads: readonly EntryOfWorkload[]): Service {
  const { parsed, made } = entry;
  const endpoints = workloads.map((it) => labelOf(it.parsed));
  if (made !== undefined && isSame(made.endpoints, endpoints)) return made;
  const labels = listedBy(entry);
  return {
    name: parsed.name,
    namespace: parsed.namespace,
    addresses: parsed.addresses,
    ports: parsed.ports,
    endpoints,
    notReady: labels.filter((_, i) => !parsed.endpoints![i]!.ready),
    preference: parsed.prefer,
    hasAffinity: parsed.sessionAffinity === "clientAddress",
  };
}
