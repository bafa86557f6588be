// What a Culvert holds of its pods: descriptors by kind, and pinned links.

import { globSync, readdirSync, readlinkSync } from "node:fs";
import type { Culvert } from "./culvert.ts";

export interface Holdings {
  readonly sockets: number;
  readonly namespaces: number;
  /** To pods' namespaces. */
  readonly links: number;
}

/** `pins`: the node's. */
export function holdings(culvert: Culvert, pins: string): Holdings {
  const targets = readdirSync(`/proc/${culvert.pid}/fd`).map((fd) => targetOf(`/proc/${culvert.pid}/fd/${fd}`));
  const count = (pattern: RegExp) => targets.filter((target) => pattern.test(target)).length;
  return {
    sockets: count(/^socket:/),
    namespaces: count(/^net:|\/ns\/net$/),
    links: globSync(`${pins}/*/links/netns_*`).length,
  };
}

export function descriptorCount(culvert: Culvert): number {
  return readdirSync(`/proc/${culvert.pid}/fd`).length;
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return ""; // Closed meanwhile.
  }
}
