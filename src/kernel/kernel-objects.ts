// The BPF programs, maps and cgroup links of this process. They last until `close`, or until the process ends.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Fd, native } from "../runtime/native.ts";
import { BpfMap, closeFd } from "./bpf-map.ts";

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

export class KernelObjects {
  readonly maps: Readonly<Record<MapName, BpfMap>>;
  readonly #programs: Record<string, Fd>;
  readonly #links: Fd[];

  private constructor(programs: Record<string, Fd>, maps: Record<MapName, BpfMap>) {
    this.maps = maps;
    this.#programs = programs;
    this.#links = [];
  }

  /** Loads every object file of the directory. Whole or not at all. */
  static load(directory: string): KernelObjects {
    const files = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(".bpf.o")) : [];
    if (files.length === 0) throw new Error(`load BPF objects: none in ${directory}; build them with npm run setup`);
    const { programs, maps } = native.bpf("load", { objects: files.sort().map((name) => join(directory, name)) });
    const wrapped = Object.fromEntries(Object.entries(maps).map(([name, info]) => [name, new BpfMap(info)]));
    return new KernelObjects(programs, wrapped as Record<MapName, BpfMap>);
  }

  attachCgroup(program: ProgramName, cgroupPath: string): void {
    this.#links.push(native.bpf("attachCgroup", { program: this.#program(program), cgroupPath }).link);
  }

  /** The caller owns the link. */
  attachNetns(program: ProgramName, netns: Fd): Fd {
    return native.bpf("attachNetns", { program: this.#program(program), netns }).link;
  }

  close(): void {
    for (const fd of this.#links) closeFd(fd);
    for (const fd of Object.values(this.#programs)) closeFd(fd);
    for (const map of Object.values(this.maps)) map.close();
  }

  #program(name: ProgramName): Fd {
    const program = this.#programs[name];
    if (program === undefined) throw new Error(`no BPF program ${name} in the objects; build them with npm run setup`);
    return program;
  }
}
