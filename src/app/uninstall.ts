// Removes every trace of Culverts that do not run: what they pinned, and with it what is attached and enforced; what they
// set up in pods' namespaces; the cgroup and the socket that a killed one left. What runs is left alone, and told.

import { existsSync, rmdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { claimSocketPath } from "../admin/admin-socket.ts";
import { loadMeshFile } from "../discovery/file-source.ts";
import { findCgroupRoot } from "../kernel/cgroup.ts";
import { instancesIn, uninstallInstance } from "../kernel/instances.ts";
import { socketDirectory } from "./defaults.ts";

export interface UninstallOptions {
  /** The configuration of the one node to uninstall. undefined: all that are found in `directory`. */
  readonly configPath: string | undefined;
  readonly directory: string;
  /** Called with a line for each thing that was removed, or could not be. */
  readonly say: (line: string) => void;
}

interface Traces {
  readonly pins: string;
  /** undefined: it was made by somebody else. */
  readonly proxyCgroup: string | undefined;
  readonly socket: string;
}

/** Resolves with whether all of it is gone. */
export async function uninstall({ configPath, directory, say }: UninstallOptions): Promise<boolean> {
  checkAccess(directory);
  const nodes = configPath === undefined ? instancesIn(directory).map(tracesOf) : [configuredTraces(configPath)];
  if (nodes.length === 0) say(`nothing of Culvert is pinned in ${directory}`);
  let isDone = true;
  for (const node of nodes) {
    try {
      await removeTraces(node, say);
    } catch (error) {
      isDone = false;
      say((error as Error).message);
    }
  }
  return isDone;
}

/** Else what is there would look as if it were not: the bpf file system is root's. */
function checkAccess(directory: string): void {
  try {
    statSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EACCES") return;
    throw new Error(`look for what is pinned in ${directory}: permission denied; run as root`);
  }
}

function configuredTraces(path: string): Traces {
  const { node } = loadMeshFile(path);
  const proxyCgroup = node.cgroups.proxy === undefined ? defaultProxyCgroup(node.name) : undefined;
  return { pins: node.pins, proxyCgroup, socket: node.admin.socket };
}

/** With the defaults of mesh.yaml. */
function tracesOf(pins: string): Traces {
  const name = basename(pins).replaceAll("_", ".");
  return { pins, proxyCgroup: defaultProxyCgroup(name), socket: join(socketDirectory, `${name}.sock`) };
}

export function defaultProxyCgroup(nodeName: string): string {
  return join(findCgroupRoot(), `culvert-${nodeName}`);
}

async function removeTraces({ pins, proxyCgroup, socket }: Traces, say: (line: string) => void): Promise<void> {
  if (existsSync(pins)) {
    const { layouts, maps, links, namespaces } = uninstallInstance(pins);
    say(`removed ${pins}: ${links} links and ${maps} maps of ${layouts.length} versions (${layouts.join(", ")})`);
    say(`removed rules, routes and settings of ${pins} from ${namespaces.size} pods' network namespaces`);
  } else {
    say(`nothing of Culvert is pinned in ${pins}`);
  }
  if (proxyCgroup !== undefined && existsSync(proxyCgroup)) {
    rmdirSync(proxyCgroup);
    say(`removed cgroup ${proxyCgroup}`);
  }
  if (existsSync(socket)) {
    await claimSocketPath(socket);
    say(`removed ${socket}`);
  }
}
