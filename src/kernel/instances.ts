// The Culverts that have something pinned on this machine, running or not: directories beside each other, each of which
// holds layouts.

import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { holderOf, lockInstance } from "./instance-lock.ts";
import { attachedNamespaces, type RemovedPins, removeInstance } from "./pins.ts";
import { removeSourceRoutes } from "./source-routes.ts";

export interface Uninstalled extends RemovedPins {
  readonly instance: string;
  /** Inode numbers of the namespaces that its programs were attached to. */
  readonly namespaces: ReadonlySet<bigint>;
}

const layoutPattern = /^[0-9a-f]{16}$/;

/** The instances in `directory`, which need not exist. What others pinned there is none. */
export function instancesIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isDirectory() && isInstance(path))
    .sort();
}

function isInstance(path: string): boolean {
  const names = readdirSync(path);
  return names.length > 0 && names.every((name) => layoutPattern.test(name));
}

/** As far as it can be seen from here: a process of another container stays unseen. */
export function isRunning(instance: string): boolean {
  return holderOf(instance) !== undefined;
}

/** Removes what was set up in pods' namespaces and all that is pinned there, and so detaches it. Throws INSTANCE_RUNNING while a process holds it. */
export function uninstallInstance(instance: string): Uninstalled {
  using _lock = lockInstance([instance]);
  const namespaces = attachedNamespaces(instance);
  removeSourceRoutes(namespaces);
  return { instance, namespaces, ...removeInstance(instance) };
}
