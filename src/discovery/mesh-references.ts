// What must agree between different places of mesh.yaml. It reads the raw values and skips whatever has not even the right
// shape (mesh-schema.ts reports that), so that both kinds of mistake are reported together.

import { formatAddress, parseAddress } from "../mesh/address.ts";
import { isWorkloadReference } from "./fields.ts";
import { LabelIndex } from "./label-index.ts";
import { nearest } from "./nearest.ts";
import { type DocumentPath, formatPath } from "./yaml-source.ts";

type Report = (path: DocumentPath, message: string) => void;

/** What an entry says by itself. */
interface Facts {
  /** `namespace/name`, or the name of a node; undefined when it has no usable name. */
  readonly label: string | undefined;
  readonly namespace: string;
  readonly addresses: readonly (string | undefined)[];
  readonly netns: readonly (string | undefined)[];
  readonly portNames: readonly (string | undefined)[];
  readonly ports: readonly (string | undefined)[];
  /** Names of target ports. */
  readonly targets: readonly (string | undefined)[];
}

interface Entry extends Facts {
  readonly value: Record<string, unknown>;
  readonly list: "nodes" | "workloads" | "services";
  readonly index: number;
}

export function checkReferences(document: unknown, report: Report): void {
  const root = mapping(document);
  const nodes = entriesOf(root, "nodes");
  const workloads = entriesOf(root, "workloads");
  const services = entriesOf(root, "services");
  const isTaken = (name: string, holder: string) => `${name} is already the name of ${holder}; choose another`;
  for (const entries of [nodes, workloads, services]) {
    checkUnique(
      entries,
      ({ label }) => [label],
      () => ["name"],
      report,
      isTaken,
    );
  }
  checkNodeAddresses(nodes, services, report);
  checkNodes(root, nodes, workloads, report);
  const all = [...workloads, ...services];
  checkUnique(
    all,
    ({ addresses }) => addresses,
    (i) => ["addresses", i],
    report,
    (address, holder) => `${address} is already used as ${holder}; an address belongs to one workload or one service`,
  );
  checkUnique(
    workloads,
    ({ netns }) => netns,
    () => ["netns"],
    report,
    (_, holder) => `is the same network namespace as ${holder}; a namespace holds one workload`,
  );
  for (const entry of all) {
    if (entry.ports.length < 2) continue;
    checkUnique(
      [entry],
      ({ portNames }) => portNames,
      (i) => ["ports", i, "name"],
      report,
      isTaken,
    );
  }
  for (const service of services) {
    if (service.ports.length < 2) continue;
    checkUnique(
      [service],
      ({ ports }) => ports,
      (i) => ["ports", i, "port"],
      report,
      (port, holder) => `port ${port} is already declared as ${holder}; a port goes to one target port`,
    );
  }
  checkWhatIsBehind(workloads, services, report);
  checkCgroups(mapping(mapping(root.node).cgroups), report);
}

function checkWhatIsBehind(workloads: readonly Entry[], services: readonly Entry[], report: Report): void {
  const byLabel = new Map(workloads.map((it) => [it.label, it]));
  let selectable: LabelIndex<Entry & { labels: Record<string, string> }> | undefined;
  for (const service of services) {
    const { selector } = service.value;
    const listed = selector === undefined ? checkEndpoints(service, byLabel, report) : [];
    if (service.targets.every((name) => name === undefined)) continue;
    selectable ??= new LabelIndex(workloads.map((it) => ({ ...it, labels: textMapping(it.value.labels) })));
    const behind = selector === undefined ? listed : selectable.select(service.namespace, textMapping(selector));
    checkTargetPorts(service, behind, report);
  }
}

/** A workload may have its node's address (hostNetwork); another node and a service may not. */
function checkNodeAddresses(nodes: readonly Entry[], services: readonly Entry[], report: Report): void {
  const message = (address: string, holder: string) =>
    `${address} is already used as ${holder}; an address belongs to one node or one service`;
  const addresses = (i: number) => ["addresses", i];
  checkUnique(nodes, (it) => it.addresses, addresses, report, message);
  if (nodes.every((it) => it.addresses.length === 0)) return;
  const holders = new Map(
    nodes.flatMap((it) => it.addresses.map((key, i) => [key, [...pathOf(it), ...addresses(i)]] as const)),
  );
  for (const service of services) {
    for (const [i, key] of service.addresses.entries()) {
      const holder = key === undefined ? undefined : holders.get(key);
      if (key !== undefined && holder !== undefined)
        report([...pathOf(service), ...addresses(i)], message(key, formatPath(holder)));
    }
  }
}

/** Only where nodes are listed at all. */
function checkNodes(
  root: Record<string, unknown>,
  nodes: readonly Entry[],
  workloads: readonly Entry[],
  report: Report,
): void {
  if (nodes.length === 0) return;
  const own = textOf(mapping(root.node).name);
  const names = new Set([...nodes.map(({ value }) => value.name), own].filter((it) => typeof it === "string"));
  for (const workload of workloads) {
    const { value } = workload;
    if (typeof value.node !== "string" || names.has(value.node)) continue;
    const meant = nearest(value.node, names);
    const hint = meant === undefined ? "add it under nodes" : `did you mean ${meant}?`;
    report([...pathOf(workload), "node"], `no node is called ${value.node}; ${hint}`);
  }
}

/** A name that some workload behind the service has for a port: where none has, it is a mistake. */
function checkTargetPorts(service: Entry, behind: readonly Entry[], report: Report): void {
  const names = new Set(behind.flatMap(({ portNames }) => portNames.filter((it) => it !== undefined)));
  for (const [i, name] of service.targets.entries()) {
    if (name === undefined || behind.length === 0 || names.has(name)) continue;
    const meant = nearest(name, names);
    const hint = meant === undefined ? "write a number, or name the port under ports there" : `did you mean ${meant}?`;
    report(
      [...pathOf(service), "ports", i, "targetPort"],
      `no workload behind the service has a port named ${name}; ${hint}`,
    );
  }
}

/** Returns the workloads that were found. */
function checkEndpoints(service: Entry, workloads: ReadonlyMap<string | undefined, Entry>, report: Report): Entry[] {
  const listed = new Map<string, DocumentPath>();
  const found: Entry[] = [];
  for (const [i, item] of items(service.value.endpoints).entries()) {
    const isMapping = typeof item === "object";
    const text = isMapping ? mapping(item).workload : item;
    if (!isWorkloadReference(text)) continue;
    const label = resolveLabel(text, service.namespace);
    const path = ["endpoints", i, ...(isMapping ? ["workload"] : [])];
    const before = listed.get(label);
    if (before === undefined) listed.set(label, path);
    else {
      const holder = formatPath([...pathOf(service), ...before]);
      report([...pathOf(service), ...path], `${label} is already listed as ${holder}; list a workload once`);
    }
    const workload = workloads.get(label);
    if (workload !== undefined) {
      found.push(workload);
      continue;
    }
    const meant = nearest(
      label,
      [...workloads.keys()].filter((it) => it !== undefined),
    );
    report(
      [...pathOf(service), ...path],
      `no workload is called ${label}; ${meant === undefined ? "add it under workloads or remove it here" : `did you mean ${meant}?`}`,
    );
  }
  return found;
}

function checkCgroups(cgroups: Record<string, unknown>, report: Report): void {
  const { pods, proxy } = cgroups;
  if (typeof pods !== "string" || typeof proxy !== "string") return;
  if (`${pods}/`.startsWith(`${proxy}/`)) {
    report(
      ["node", "cgroups", "proxy"],
      `${proxy} holds the pods (${pods}), so that all they send would pass as the proxy's own; name a cgroup beside it or leave it out`,
    );
  }
}

/** `web-1` means the workload of that name in the service's own namespace. */
export function resolveLabel(reference: string, namespace: string): string {
  return reference.includes("/") ? reference : `${namespace}/${reference}`;
}

/** No two of the keys that entries have may be the same. `placeOf`: of the i-th key, in its entry. */
function checkUnique(
  entries: readonly Entry[],
  keysOf: (entry: Entry) => readonly (string | undefined)[],
  placeOf: (i: number) => DocumentPath,
  report: Report,
  message: (key: string, holder: string) => string,
): void {
  const holders = new Map<string, Entry>();
  for (const entry of entries) {
    const keys = keysOf(entry);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      if (key === undefined) continue;
      const holder = holders.get(key);
      if (holder === undefined) {
        holders.set(key, entry);
        continue;
      }
      const place = [...pathOf(holder), ...placeOf(keysOf(holder).indexOf(key))];
      report([...pathOf(entry), ...placeOf(i)], message(key, formatPath(place)));
    }
  }
}

function pathOf({ list, index }: Entry): DocumentPath {
  return [list, index];
}

function entriesOf(root: Record<string, unknown>, list: Entry["list"]): Entry[] {
  return items(root[list]).map((item, index) => {
    const value = mapping(item);
    return { ...factsOf(value, list), value, list, index };
  });
}

function factsOf(value: Record<string, unknown>, list: Entry["list"]): Facts {
  const namespace = namespaceOf(value);
  const name = textOf(value.name);
  const { node, netns } = value;
  const ports = items(value.ports).map(mapping);
  return {
    label: name === undefined || list === "nodes" ? name : `${namespace}/${name}`,
    namespace,
    addresses: items(value.addresses).map((text) => {
      const address = typeof text === "string" ? parseAddress(text) : undefined;
      return address === undefined ? undefined : formatAddress(address);
    }),
    // Paths are those of a machine: two nodes may well use the same.
    netns: [typeof node === "string" && typeof netns === "string" ? `${node} ${netns}` : undefined],
    portNames: ports.map((it) => textOf(it.name)),
    ports: ports.map(({ port }) => (typeof port === "number" ? String(port) : undefined)),
    targets: ports.map((it) => textOf(it.targetPort)),
  };
}

function namespaceOf(value: Record<string, unknown>): string {
  return typeof value.namespace === "string" ? value.namespace : "default";
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function textMapping(value: unknown): Record<string, string> {
  return mapping(value) as Record<string, string>;
}

function mapping(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
