// What must agree between different places of mesh.yaml. It reads the raw values and skips whatever has not even the right
// shape (mesh-schema.ts reports that), so that both kinds of mistake are reported together.

import { formatAddress, parseAddress } from "../mesh/address.ts";
import { isWorkloadReference } from "./fields.ts";
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
  const workloads = entriesOf(root, "workloads");
  const services = entriesOf(root, "services");
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
    items(root.nodes).map((it, i): Claim => {
      const { name } = mapping(it);
      return { key: typeof name === "string" ? name : undefined, path: ["nodes", i, "name"] };
    }),
    report,
    (name, holder) => `${name} is already the name of ${holder}; list a node once`,
  );
  checkUnique(
    workloads.map(netnsClaim),
    report,
    (_, holder) => `is the same network namespace as ${holder}; a namespace holds one workload`,
  );
  const labels = new Set(workloads.flatMap(({ label }) => label ?? []));
  for (const service of services) {
    checkUnique(
      portClaims(service),
      report,
      (port, holder) => `port ${port} is already declared as ${holder}; a port goes to one target port`,
    );
    checkEndpoints(service, labels, report);
  }
  checkCgroups(mapping(mapping(root.node).cgroups), report);
}

function checkEndpoints(service: Entry, labels: ReadonlySet<string>, report: Report): void {
  const claims: Claim[] = [];
  for (const [i, text] of items(service.value.endpoints).entries()) {
    if (!isWorkloadReference(text)) continue;
    const label = resolveLabel(text, namespaceOf(service.value));
    const path = [...service.path, "endpoints", i];
    claims.push({ key: label, path });
    if (labels.has(label)) continue;
    const meant = nearest(label, labels);
    report(
      path,
      `no workload is called ${label}; ${meant === undefined ? "add it under workloads or remove it here" : `did you mean ${meant}?`}`,
    );
  }
  checkUnique(claims, report, (label, holder) => `${label} is already listed as ${holder}; list a workload once`);
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

function mapping(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
