// What outlives the process, in a directory of the bpf file system:
//
//   <instance>/<layout>/maps/<name>     what the programs of that layout know
//   <instance>/<layout>/links/<name>    what is attached, and so in force: to cgroups by hook and place, to pods by cookie
//
// <layout> is a hash over the maps' layouts. A version that lays out its maps alike uses those that are there; one that
// does not makes its own beside them, and takes the links over: a link that is pinned in both is one and the same.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Fd, type NetnsCookie, native } from "../runtime/native.ts";
import { closeFd } from "./bpf-map.ts";
import { makePinsDirectory } from "./bpffs.ts";

export interface PinnedLink {
  /** The caller owns it. */
  readonly fd: Fd;
  /** Inode number of the cgroup or namespace; 0 when it is gone. */
  readonly target: bigint;
  /** Pinned by this layout: its program uses these maps. */
  readonly isOfThisLayout: boolean;
}

/** 16 hexadecimal digits. Names of fields are part of it: a field that changes its meaning changes its name. */
export function layoutHash(objects: readonly string[]): string {
  const { description } = native.bpf("layout", { objects });
  return createHash("sha256").update(description).digest("hex").slice(0, 16);
}

const netnsLinkPrefix = "netns_";

export function netnsLinkName(cookie: NetnsCookie): string {
  return `${netnsLinkPrefix}${cookie}`;
}

/** Whether anything is pinned in an instance's directory. */
export function hasPins(instance: string): boolean {
  return existsSync(instance) && readdirSync(instance).length > 0;
}

export class Pins {
  readonly instance: string;
  readonly layout: string;

  /** Makes the directories. */
  constructor(instance: string, layout: string) {
    this.instance = instance;
    this.layout = layout;
    for (const kind of ["maps", "links"] as const) makePinsDirectory(this.#path(kind));
  }

  #path(kind: "maps" | "links", layout: string = this.layout): string {
    return join(this.instance, layout, kind);
  }

  get otherLayouts(): string[] {
    if (!existsSync(this.instance)) return []; // Somebody has removed it, or mounted over it.
    return readdirSync(this.instance).filter((layout) => layout !== this.layout);
  }

  /** This layout's maps. The caller owns the descriptors. */
  maps(): Record<string, Fd> {
    const directory = this.#path("maps");
    const names = readdirSync(directory);
    return Object.fromEntries(names.map((name) => [name, getPinned(join(directory, name))!]));
  }

  pinMap(name: string, fd: Fd): void {
    native.bpf("pin", { fd, path: join(this.#path("maps"), name) });
  }

  /** The link of that name that this layout or, if it has none, another has pinned. */
  link(name: string): PinnedLink | undefined {
    for (const layout of [this.layout, ...this.otherLayouts]) {
      const fd = getPinned(join(this.#path("links", layout), name));
      if (fd === undefined) continue;
      const { target } = native.bpf("linkInfo", { link: fd });
      return { fd, target: target ?? 0n, isOfThisLayout: layout === this.layout };
    }
    return undefined;
  }

  /** In the place of what this layout has pinned under that name. */
  pinLink(name: string, fd: Fd): void {
    makePinsDirectory(this.#path("links"));
    const path = join(this.#path("links"), name);
    unlinkIfThere(path);
    native.bpf("pin", { fd, path });
  }

  /** In all layouts: with its last descriptor the link is gone. */
  unpinLink(name: string): void {
    for (const layout of [this.layout, ...this.otherLayouts]) unlinkIfThere(join(this.#path("links", layout), name));
  }

  /** Links of this layout to namespaces, but those of these cookies. */
  removeNetnsLinks(but: readonly NetnsCookie[]): void {
    const kept = new Set(but.map(netnsLinkName));
    for (const name of readdirSync(this.#path("links"))) {
      if (name.startsWith(netnsLinkPrefix) && !kept.has(name)) this.unpinLink(name);
    }
  }

  /** What only they pinned is detached and freed. */
  removeOtherLayouts(): void {
    for (const layout of this.otherLayouts) removeLayout(join(this.instance, layout));
  }

  removeAll(): void {
    if (existsSync(this.instance)) removeInstance(this.instance);
  }
}

/** Inode numbers of the namespaces that an instance is attached to, but those of these cookies. */
export function attachedNamespaces(instance: string, but: readonly NetnsCookie[] = []): ReadonlySet<bigint> {
  const left = new Set(but.map(netnsLinkName));
  const inodes = new Set<bigint>();
  for (const layout of readdirSync(instance)) {
    const links = join(instance, layout, "links");
    for (const name of existsSync(links) ? readdirSync(links) : []) {
      const isWanted = name.startsWith(netnsLinkPrefix) && !left.has(name);
      const fd = isWanted ? getPinned(join(links, name)) : undefined;
      if (fd === undefined) continue;
      const { target } = native.bpf("linkInfo", { link: fd });
      closeFd(fd);
      if (target !== undefined && target !== 0n) inodes.add(target);
    }
  }
  return inodes;
}

export interface RemovedPins {
  readonly layouts: readonly string[];
  readonly maps: number;
  readonly links: number;
}

/** Removes all that an instance has pinned: links first, so that no program is left without what it knows. */
export function removeInstance(instance: string): RemovedPins {
  const layouts = readdirSync(instance);
  const removed = layouts.map((layout) => removeLayout(join(instance, layout)));
  rmdirSync(instance);
  removeIfEmpty(dirname(instance));
  const sum = (of: "maps" | "links") => removed.reduce((total, each) => total + each[of], 0);
  return { layouts, maps: sum("maps"), links: sum("links") };
}

function removeLayout(directory: string): { maps: number; links: number } {
  const removed = { maps: 0, links: 0 };
  for (const kind of ["links", "maps"] as const) {
    const path = join(directory, kind);
    if (!existsSync(path)) continue;
    for (const name of readdirSync(path)) {
      unlinkSync(join(path, name));
      removed[kind]++;
    }
    rmdirSync(path);
  }
  rmdirSync(directory);
  return removed;
}

/** The directory that instances share; the mount point itself is busy. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EBUSY" && code !== "ENOENT") throw error;
  }
}

function getPinned(path: string): Fd | undefined {
  return native.bpf("getPinned", { path }).fd;
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
