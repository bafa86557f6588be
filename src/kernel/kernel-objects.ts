// The BPF programs, maps and links of this process. Without a directory for pins they end with it. With one they outlive
// it, and the next process adopts them:
//
//   same layout      its maps are used, its links get these programs at once, each atomically
//   another layout   new maps; the pods' hooks stay as they are until `settle`, when these maps know all pods

import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Fd, type NativeError, type NetnsCookie, native } from "../runtime/native.ts";
import { BpfMap, closeFd } from "./bpf-map.ts";
import { attachedNamespaces, hasPins, layoutHash, netnsLinkName, type PinnedLink, Pins } from "./pins.ts";

export type MapName =
  | "pods"
  | "pod_by_address"
  | "opt_outs"
  | "refused"
  | "heartbeats"
  | "destinations"
  | "pod_cidrs"
  | "captured_sockets"
  | "proxy_sockets"
  | "original_destination"
  | "bypass"
  | "listeners"
  | "reasons"
  | "node_flags"
  | "node_addresses"
  | "probe_ports"
  | "plain"
  | "unknown";

export type ProgramName =
  | "culvert_sock_create"
  | "culvert_sockops"
  | "culvert_getpeername4"
  | "culvert_getpeername6"
  | "culvert_connect4"
  | "culvert_connect6"
  | "culvert_bind4"
  | "culvert_bind6"
  | "culvert_sk_lookup"
  | "culvert_probe_exemption";

export type KernelMaps = Readonly<Record<MapName, BpfMap>>;

/** Whose processes a program looks at: the pods', this one's, or those of whoever probes the pods. */
export type HookPlace = "pods" | "proxy" | "kubelet";

export class KernelObjects {
  readonly maps: KernelMaps;
  /** Another process left pins here, which are in force. */
  readonly isAdopted: boolean;
  readonly #programs: Record<string, Fd>;
  /** By hook and place. */
  readonly #links: Map<string, Fd>;
  readonly #pins: Pins | undefined;
  /** What `settle` puts in force. */
  readonly #replacements: (() => void)[];

  private constructor(programs: Record<string, Fd>, maps: KernelMaps, pins: Pins | undefined, isAdopted: boolean) {
    this.maps = maps;
    this.isAdopted = isAdopted;
    this.#programs = programs;
    this.#links = new Map();
    this.#pins = pins;
    this.#replacements = [];
  }

  /** Loads every object file of the directory. Whole or not at all. `instance`: where to pin, absolute; else not pinned. */
  static load(directory: string, instance?: string): KernelObjects {
    const files = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(".bpf.o")) : [];
    if (files.length === 0) throw new Error(`load BPF objects: none in ${directory}; build them with npm run setup`);
    const objects = files.sort().map((name) => join(directory, name));
    if (instance === undefined) return KernelObjects.#load(objects, undefined, {}, false);
    const layout = layoutHash(objects);
    const isAdopted = hasPins(instance);
    const pins = new Pins(instance, layout);
    try {
      return KernelObjects.#load(objects, pins, pins.maps(), isAdopted);
    } catch (error) {
      if (!isAdopted) pins.removeAll();
      throw error;
    }
  }

  static #load(
    objects: readonly string[],
    pins: Pins | undefined,
    reuse: Record<string, Fd>,
    isAdopted: boolean,
  ): KernelObjects {
    const { programs, maps } = native.bpf("load", { objects, reuse });
    const wrapped = Object.fromEntries(Object.entries(maps).map(([name, info]) => [name, new BpfMap(name, info)]));
    const loaded = new KernelObjects(programs, wrapped as Record<MapName, BpfMap>, pins, isAdopted);
    try {
      for (const [name, { fd }] of Object.entries(maps)) if (!(name in reuse)) pins?.pinMap(name, fd);
    } catch (error) {
      loaded.close({ keepsPins: true });
      throw error;
    }
    return loaded;
  }

  get isPinned(): boolean {
    return this.#pins !== undefined;
  }

  /** Layouts whose maps and links `settle` will let go of. */
  get otherLayouts(): readonly string[] {
    return this.#pins?.otherLayouts ?? [];
  }

  /** The link stays this object's. */
  attachCgroup(program: ProgramName, place: HookPlace, cgroupPath: string): Fd {
    const fd = this.#program(program);
    const name = cgroupLinkName(program, place);
    const pinned = this.#pinnedLink(name, () => statSync(cgroupPath, { bigint: true }).ino);
    if (pinned === undefined) {
      const { link } = native.bpf("attachCgroup", { program: fd, cgroupPath });
      this.#links.set(name, link);
      this.#pins?.pinLink(name, link);
      return link;
    }
    this.#links.set(name, pinned.fd);
    const replace = () => {
      native.bpf("linkUpdate", { link: pinned.fd, program: fd });
      if (!pinned.isOfThisLayout) this.#pins?.pinLink(name, pinned.fd);
    };
    // This process's own sockets are known by these maps from the start; the pods' hooks of before take them for nobody's.
    if (pinned.isOfThisLayout || place !== "pods") replace();
    else this.#replacements.push(replace);
    return pinned.fd;
  }

  /** `link` undefined: what a previous process has pinned, if it has. */
  detachCgroup(program: ProgramName, place: HookPlace, link?: Fd): void {
    this.#pins?.unpinLink(cgroupLinkName(program, place));
    if (link === undefined) return;
    this.#links.delete(cgroupLinkName(program, place));
    closeFd(link);
  }

  /** Names of hooks whose cgroup is gone: a link does not follow to one that is made in its place. */
  get defunctLinks(): string[] {
    return [...this.#links].flatMap(([name, link]) => (isDefunct(link) ? name : []));
  }

  /** The caller owns the link, and gives it to `detachNetns`. */
  attachNetns(program: ProgramName, netns: Fd, cookie: NetnsCookie): Fd {
    const fd = this.#program(program);
    const name = netnsLinkName(cookie);
    // Namespaces may share an inode number with one that is gone, but not the cookie.
    const pinned = this.#pinnedLink(name, (target) => target);
    if (pinned !== undefined && isUpdated(pinned.fd, fd)) {
      if (!pinned.isOfThisLayout) this.#pins?.pinLink(name, pinned.fd);
      return pinned.fd;
    }
    if (pinned !== undefined) closeFd(pinned.fd);
    const { link } = native.bpf("attachNetns", { program: fd, netns });
    this.#pins?.pinLink(name, link);
    return link;
  }

  detachNetns(link: Fd | undefined, cookie: NetnsCookie): void {
    this.#pins?.unpinLink(netnsLinkName(cookie));
    if (link !== undefined) closeFd(link);
  }

  /** What a previous process pinned and is still attached to the wanted target. Anything else is let go of. */
  #pinnedLink(name: string, wanted: (target: bigint) => bigint): PinnedLink | undefined {
    const pinned = this.#pins?.link(name);
    if (pinned === undefined) return undefined;
    if (pinned.target !== 0n && pinned.target === wanted(pinned.target)) return pinned;
    closeFd(pinned.fd);
    return undefined;
  }

  /**
   * Puts these programs in force where those of another layout still are, and lets go of that and of links to pods that
   * are not `inForce`. The order of attaching is kept: connect hooks come last, so what they capture meets programs that
   * know these maps.
   */
  settle(inForce: readonly NetnsCookie[]): void {
    for (const replace of this.#replacements.splice(0)) replace();
    this.#pins?.removeOtherLayouts();
    this.#pins?.removeNetnsLinks(inForce);
  }

  /** Inode numbers of the namespaces that a process before was attached to, but those of these cookies. */
  otherNamespaces(but: readonly NetnsCookie[]): ReadonlySet<bigint> {
    return this.#pins === undefined ? new Set() : attachedNamespaces(this.#pins.instance, but);
  }

  /** `keepsPins`: what is pinned stays in force. */
  close({ keepsPins }: { keepsPins: boolean }): void {
    if (!keepsPins) this.#pins?.removeAll();
    for (const fd of this.#links.values()) closeFd(fd);
    for (const fd of Object.values(this.#programs)) closeFd(fd);
    for (const map of Object.values(this.maps)) map.close();
  }

  #program(name: ProgramName): Fd {
    const program = this.#programs[name];
    if (program === undefined) throw new Error(`no BPF program ${name} in the objects; build them with npm run setup`);
    return program;
  }
}

function cgroupLinkName(program: ProgramName, place: HookPlace): string {
  return `${program}_${place}`;
}

/** What the link was attached to is gone. */
export function isDefunct(link: Fd): boolean {
  return native.bpf("linkInfo", { link }).target === 0n;
}

/** False when what the link was attached to is gone. */
function isUpdated(link: Fd, program: Fd): boolean {
  try {
    native.bpf("linkUpdate", { link, program });
    return true;
  } catch (error) {
    if ((error as NativeError).errno === "ENOLINK") return false;
    throw error;
  }
}
