// What must agree between different places of mesh.yaml. It reads the raw values and skips whatever has not even the right
// shape (mesh-schema.ts reports that), so that both kinds of mistake are reported together.

import { formatAddress, parseAddress } from "../mesh/address.ts";
import { isWorkloadReference } from "./fields.ts";
import { LabelIndex } from "./label-index.ts";
import { nearest } from "./nearest.ts";
import { type DocumentPath, formatPath } from "./yaml-source.ts";

type Report = (path: DocumentPath, message: string) => void;

interface Entry {
  readonly value: Record<string, unknown>;
  readonly path: DocumentPath;
  /** `namespace/name`; undefined when it has no usable name. */
  readonly label: string | undefined;
}

export function checkReferences(document: unknown, report: Report): void {
  const root = mapping(document);
  const nodes = entriesOf(root, "nodes");
  const workloads = entriesOf(root, "workloads");
  const services = entriesOf(root, "services");
  checkUnique(
    nodes.map(({ value, path }) => ({ key: textOf(value.name), path: [...path, "name"] })),
    report,
    (name, holder) => `${name} is already the name of ${holder}; choose another`,
  );
  checkNodeAddresses(nodes, services, report);
  checkNodes(root, nodes, workloads, report);
  checkUnique(
    workloads.map(nameClaim),
    report,
    (label, holder) => `${label} is already the name of ${holder}; choose another`,
  );
  checkUnique(
    services.map(nameClaim),
    report,
    (label, holder) => `${label} is already the name of ${holder}; choose another`,
  );
  checkUnique(
    [...workloads, ...services].flatMap(addressClaims),
    report,
    (address, holder) => `${address} is already used as ${holder}; an address belongs to one workload or one service`,
  );
  checkUnique(
    workloads.map(netnsClaim),
    report,
    (_, holder) => `is the same network namespace as ${holder}; a namespace holds one workload`,
  );
  for (const { value, path } of [...workloads, ...services]) {
    checkUnique(
      items(value.ports).map((it, i) => ({ key: textOf(mapping(it).name), path: [...path, "ports", i, "name"] })),
      report,
      (name, holder) => `${name} is already the name of ${holder}; choose another`,
    );
  }
  const byLabel = new Map(workloads.flatMap((it) => (it.label === undefined ? [] : [[it.label, it] as const])));
  const selectable = new LabelIndex(workloads.map((it) => ({ ...it, ...selectableAs(it.value) })));
  for (const service of services) {
    checkUnique(
      portClaims(service),
      report,
      (port, holder) => `port ${port} is already declared as ${holder}; a port goes to one target port`,
    );
    const behind =
      service.value.selector === undefined
        ? checkEndpoints(service, byLabel, report)
        : selectable.select(namespaceOf(service.value), textMapping(service.value.selector));
    checkTargetPorts(service, behind, report);
  }
  checkCgroups(mapping(mapping(root.node).cgroups), report);
}

/** A workload may have its node's address (hostNetwork); another node and a service may not. */
function checkNodeAddresses(nodes: readonly Entry[], services: readonly Entry[], report: Report): void {
  const message = (address: string, holder: string) =>
    `${address} is already used as ${holder}; an address belongs to one node or one service`;
  const claims = nodes.flatMap(addressClaims);
  checkUnique(claims, report, message);
  const holders = new Map(claims.map(({ key, path }) => [key, path]));
  for (const { key, path } of services.flatMap(addressClaims)) {
    const holder = key === undefined ? undefined : holders.get(key);
    if (key !== undefined && holder !== undefined) report(path, message(key, formatPath(holder)));
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
  for (const { value, path } of workloads) {
    if (typeof value.node !== "string" || names.has(value.node)) continue;
    const meant = nearest(value.node, names);
    const hint = meant === undefined ? "add it under nodes" : `did you mean ${meant}?`;
    report([...path, "node"], `no node is called ${value.node}; ${hint}`);
  }
}

/** A name that some workload behind the service has for a port: where none has, it is a mistake. */
function checkTargetPorts(service: Entry, behind: readonly Entry[], report: Report): void {
  const names = new Set(
    behind.flatMap(({ value }) => items(value.ports).flatMap((it) => textOf(mapping(it).name) ?? [])),
  );
  for (const [i, it] of items(service.value.ports).entries()) {
    const name = textOf(mapping(it).targetPort);
    if (name === undefined || behind.length === 0 || names.has(name)) continue;
    const meant = nearest(name, names);
    const hint = meant === undefined ? "write a number, or name the port under ports there" : `did you mean ${meant}?`;
    report(
      [...service.path, "ports", i, "targetPort"],
      `no workload behind the service has a port named ${name}; ${hint}`,
    );
  }
}

/** Returns the workloads that were found. */
function checkEndpoints(service: Entry, workloads: ReadonlyMap<string, Entry>, report: Report): Entry[] {
  const claims: Claim[] = [];
  const found: Entry[] = [];
  for (const [i, item] of items(service.value.endpoints).entries()) {
    const isMapping = typeof item === "object";
    const text = isMapping ? mapping(item).workload : item;
    if (!isWorkloadReference(text)) continue;
    const label = resolveLabel(text, namespaceOf(service.value));
    const path = [...service.path, "endpoints", i, ...(isMapping ? ["workload"] : [])];
    claims.push({ key: label, path });
    const workload = workloads.get(label);
    if (workload !== undefined) {
      found.push(workload);
      continue;
    }
    const meant = nearest(label, workloads.keys());
    report(
      path,
      `no workload is called ${label}; ${meant === undefined ? "add it under workloads or remove it here" : `did you mean ${meant}?`}`,
    );
  }
  checkUnique(claims, report, (label, holder) => `${label} is already listed as ${holder}; list a workload once`);
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

/** A place that lays claim to something only one may have. */
interface Claim {
  readonly key: string | undefined;
  readonly path: DocumentPath;
}

function checkUnique(claims: readonly Claim[], report: Report, message: (key: string, holder: string) => string): void {
  const holders = new Map<string, DocumentPath>();
  for (const { key, path } of claims) {
    if (key === undefined) continue;
    const holder = holders.get(key);
    if (holder === undefined) holders.set(key, path);
    else report(path, message(key, formatPath(holder)));
  }
}

function nameClaim({ label, path }: Entry): Claim {
  return { key: label, path: [...path, "name"] };
}

function addressClaims({ value, path }: Entry): Claim[] {
  return items(value.addresses).map((text, i) => {
    const address = typeof text === "string" ? parseAddress(text) : undefined;
    return { key: address === undefined ? undefined : formatAddress(address), path: [...path, "addresses", i] };
  });
}

/** Paths are those of a machine: two nodes may well use the same. */
function netnsClaim({ value, path }: Entry): Claim {
  const { node, netns } = value;
  const isUsable = typeof node === "string" && typeof netns === "string";
  return { key: isUsable ? `${node} ${netns}` : undefined, path: [...path, "netns"] };
}

function portClaims({ value, path }: Entry): Claim[] {
  return items(value.ports).map((it, i) => {
    const { port } = mapping(it);
    return { key: typeof port === "number" ? String(port) : undefined, path: [...path, "ports", i, "port"] };
  });
}

function entriesOf(root: Record<string, unknown>, key: string): Entry[] {
  return items(root[key]).map((item, i) => {
    const value = mapping(item);
    const { name } = value;
    return { value, path: [key, i], label: typeof name === "string" ? `${namespaceOf(value)}/${name}` : undefined };
  });
}

function namespaceOf(value: Record<string, unknown>): string {
  return typeof value.namespace === "string" ? value.namespace : "default";
}

function selectableAs(value: Record<string, unknown>) {
  return { namespace: namespaceOf(value), labels: textMapping(value.labels) };
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
