// What this kernel can do, found out by trying each thing, never by its version: distributions backport, and build
// without. Trying changes nothing: programs are loaded and let go, links aim at no target.

import { existsSync } from "node:fs";
import { type BpfTrial, type Fd, native } from "../runtime/native.ts";
import { closeFd } from "./bpf-map.ts";
import {
  assignListenerProgram,
  attachTypes,
  bindProgram,
  listenerLookupProgram,
  mapFlags,
  mapTypes,
  netnsCookieProgram,
  passProgram,
  programTypes,
  setReturnValueProgram,
  socketOffsets,
  socketStorageProgram,
} from "./probe-programs.ts";

export interface Probe {
  readonly name: string;
  readonly supported: boolean;
  /** "requires >= v5.9": the first release that has it, built with what distributions build. */
  readonly needs: string;
  /** What is used where it is missing; undefined: nothing can replace it, Culvert does not start. */
  readonly instead: string | undefined;
}

interface Feature {
  readonly name: string;
  readonly since: string;
  readonly instead?: string;
  isThere(): boolean;
}

const { sock, sockOps, sockAddr, skLookup } = programTypes;

const features: readonly Feature[] = [
  {
    name: "sk_lookup",
    since: "v5.9",
    isThere: () => loads(skLookup, attachTypes.skLookup, passProgram()),
  },
  {
    name: "sk_lookup giving connections to a listener of a SOCKMAP",
    since: "v5.9",
    isThere: () =>
      withMap(mapTypes.sockmap, 4, 8, (map) => loads(skLookup, attachTypes.skLookup, assignListenerProgram(map))),
  },
  ...(["connect4", "connect6", "bind4", "bind6"] as const).map((hook) => ({
    name: `cgroup/${hook} hook`,
    since: "v4.17",
    isThere: () => links(sockAddr, attachTypes[hook]),
  })),
  ...(["getpeername4", "getpeername6"] as const).map((hook) => ({
    name: `cgroup/${hook} hook`,
    since: "v5.8",
    isThere: () => links(sockAddr, attachTypes[hook]),
  })),
  { name: "sockops hook", since: "v4.13", isThere: () => links(sockOps, attachTypes.sockOps) },
  { name: "cgroup/sock_create hook", since: "v4.10", isThere: () => links(sock, attachTypes.sockCreate) },
  {
    name: "socket storage in connect hooks",
    since: "v5.3",
    isThere: () => hasStorage(sockAddr, attachTypes.connect4, socketOffsets.sockAddr),
  },
  {
    name: "socket storage in sockops",
    since: "v5.3",
    isThere: () => hasStorage(sockOps, attachTypes.sockOps, socketOffsets.sockOps),
  },
  {
    name: "socket storage in sock_create",
    since: "v5.9",
    isThere: () => hasStorage(sock, attachTypes.sockCreate, undefined),
  },
  {
    name: "bpf_bind in connect hooks",
    since: "v4.17",
    isThere: () => loads(sockAddr, attachTypes.connect4, bindProgram()),
  },
  {
    name: "bpf_sk_lookup_tcp in connect hooks",
    since: "v5.0",
    isThere: () => loads(sockAddr, attachTypes.connect4, listenerLookupProgram()),
  },
  {
    name: "bpf_get_netns_cookie in connect hooks",
    since: "v5.7",
    isThere: () => loads(sockAddr, attachTypes.connect4, netnsCookieProgram()),
  },
  {
    name: "bpf_get_netns_cookie in sock_create",
    since: "v5.7",
    isThere: () => loads(sock, attachTypes.sockCreate, netnsCookieProgram()),
  },
  {
    name: "bpf_get_netns_cookie in sockops",
    since: "v5.15",
    instead: "what the connect and sock_create hooks kept with the socket",
    isThere: () => loads(sockOps, attachTypes.sockOps, netnsCookieProgram()),
  },
  {
    name: "SO_NETNS_COOKIE",
    since: "v5.14",
    instead: "the cookie that the sock_create program keeps with a socket of the namespace",
    isThere: hasCookieOption,
  },
  {
    name: "bpf_set_retval in connect hooks",
    since: "v6.1",
    instead: "EPERM, whatever the reason of a refusal",
    isThere: () => loads(sockAddr, attachTypes.connect4, setReturnValueProgram()),
  },
  {
    name: "bpf_link on a cgroup",
    since: "v5.7",
    isThere: () => links(sockAddr, attachTypes.connect4),
  },
  {
    name: "bpf_link on a network namespace",
    since: "v5.9",
    isThere: () => links(skLookup, attachTypes.skLookup),
  },
  { name: "replacing the program of a bpf_link", since: "v5.7", isThere: updatesLinks },
  { name: "LRU hash map", since: "v4.10", isThere: () => makes(mapTypes.lruHash, 8, 8) },
  { name: "SOCKMAP", since: "v4.14", isThere: () => makes(mapTypes.sockmap, 4, 8) },
  {
    name: "memory-mapped array map",
    since: "v5.5",
    instead: "a system call per heartbeat",
    isThere: () => makes(mapTypes.array, 4, 8, mapFlags.mmapable),
  },
  {
    name: "ring buffer",
    since: "v5.8",
    instead: "counters, without a record of each event",
    isThere: () => makes(mapTypes.ringbuf, 0, 0),
  },
  {
    name: "SOCK_DESTROY",
    since: "v4.9",
    instead: "connections from before a pod's enrolment stay outside the mesh until they end",
    isThere: () => answers({ trial: "destroySocket" }),
  },
  {
    name: "tcp_fwmark_accept",
    since: "v3.15",
    instead: "the pod's own address as the source that applications see",
    isThere: () => existsSync("/proc/sys/net/ipv4/tcp_fwmark_accept"),
  },
];

/** All features, in a fixed order. Throws when this process may not try: needs CAP_BPF and CAP_NET_ADMIN. */
export function probeKernel(): readonly Probe[] {
  return features.map(({ name, since, instead, isThere }) => {
    try {
      return { name, supported: isThere(), needs: `requires >= ${since}`, instead };
    } catch (cause) {
      throw new Error(`probe the kernel for ${name}: ${(cause as Error).message}`, { cause });
    }
  });
}

/** "sk_lookup not supported (requires >= v5.9)"; with what is used instead, if there is something. */
export function missingMessage({ name, needs, instead }: Probe): string {
  return `${name} not supported (${needs})${instead === undefined ? "" : `; instead: ${instead}`}`;
}

/** Throws, naming all of them, when something is missing that nothing can replace. */
export function requireFeatures(probes: readonly Probe[]): void {
  const missing = probes.filter(({ supported, instead }) => !supported && instead === undefined);
  if (missing.length === 0) return;
  throw new Error(`this kernel cannot capture: ${missing.map(missingMessage).join(", ")}; run a newer kernel`);
}

/** The descriptor that a trial made, handed to `use` and closed; or what the kernel said instead. */
function attempt(trial: BpfTrial, use: (fd: Fd) => boolean, refused: (errno: string) => boolean): boolean {
  const { fd, errno } = native.bpf("probe", trial);
  if (errno === "EPERM") throw new Error("operation not permitted; needs CAP_BPF and CAP_NET_ADMIN (or root)");
  // Out of memory, descriptors or locked memory: says nothing about the kernel's abilities.
  if (errno === "ENOMEM" || errno === "EMFILE" || errno === "ENFILE") throw new Error(`${errno}; raise the limit`);
  if (errno !== undefined) return refused(errno);
  if (fd === undefined) return true;
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}

const yes = () => true;
const no = () => false;

function answers(trial: BpfTrial): boolean {
  return attempt(trial, yes, no);
}

function withProgram(programType: number, attachType: number, code: Uint8Array, use: (fd: Fd) => boolean): boolean {
  return attempt({ trial: "program", programType, attachType, instructions: code }, use, no);
}

function loads(programType: number, attachType: number, code: Uint8Array): boolean {
  return withProgram(programType, attachType, code, yes);
}

/** The program loads, and could be attached to something that is there. */
function links(programType: number, attachType: number): boolean {
  return withProgram(programType, attachType, passProgram(), (program) =>
    attempt({ trial: "link", program, attachType }, no, (errno) => errno === "EBADF"),
  );
}

function updatesLinks(): boolean {
  return withProgram(sockAddr, attachTypes.connect4, passProgram(), (program) =>
    attempt({ trial: "linkUpdate", program }, no, (errno) => errno === "EBADF"),
  );
}

function withMap(
  mapType: number,
  keySize: number,
  valueSize: number,
  use: (fd: Fd) => boolean,
  flags: number = mapFlags.none,
): boolean {
  // A ring buffer is a power of two of pages; socket storage has no number of entries.
  const maxEntries = mapType === mapTypes.ringbuf ? 65_536 : mapType === mapTypes.skStorage ? 0 : 64;
  return attempt({ trial: "map", mapType, keySize, valueSize, maxEntries, flags }, use, no);
}

function makes(mapType: number, keySize: number, valueSize: number, flags: number = mapFlags.none): boolean {
  return withMap(mapType, keySize, valueSize, yes, flags);
}

function hasStorage(programType: number, attachType: number, offset: number | undefined): boolean {
  const use = (map: Fd) => loads(programType, attachType, socketStorageProgram(map, offset));
  return withMap(mapTypes.skStorage, 4, 4, use, mapFlags.noPreallocation);
}

function hasCookieOption(): boolean {
  const { netns, cookie } = native.netns("open", { path: "/proc/self/ns/net" });
  closeFd(netns);
  return cookie !== undefined;
}
