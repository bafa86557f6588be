import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface OpenDescriptors {
  /** Ids of the kernel. */
  readonly links: number[];
  readonly maps: number[];
  readonly programs: number[];
  sockets: number;
  namespaces: number;
}

/** What /proc says of this process's descriptors. */
export function descriptors(): OpenDescriptors {
  const found: OpenDescriptors = { links: [], maps: [], programs: [], sockets: 0, namespaces: 0 };
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      const id = (name: string) => Number(info.match(new RegExp(`^${name}:\\s*(\\d+)`, "m"))?.[1]);
      if (target.includes("bpf_link") || target.includes("bpf-link")) found.links.push(id("link_id"));
      else if (target.includes("bpf-map")) found.maps.push(id("map_id"));
      else if (target.includes("bpf-prog")) found.programs.push(id("prog_id"));
      else if (target.startsWith("socket:")) found.sockets++;
      else if (target.startsWith("/proc/") || target.startsWith("net:")) found.namespaces++;
    } catch {
      // The descriptor with which /proc/self/fd was read.
    }
  }
  return found;
}
