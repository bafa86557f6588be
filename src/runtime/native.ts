// The addon's surface as TypeScript sees it, and the one place that loads it.
// `bpf` and `netns` are message-shaped (a request in; descriptors and results out), so that they can move into a
// privileged helper process: nothing else in src/ may assume that they run in this process.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A file descriptor of this process. Whoever receives one from a reply owns it and closes it with `netns({op: "close"})`. */
export type Fd = number & { readonly brand: "Fd" };
/** The kernel's identity of a network namespace; never reused while the machine is up. */
export type NetnsCookie = bigint & { readonly brand: "NetnsCookie" };

export interface BpfRequests {
  /**
   * Opens and loads object files; maps of the same name are one map. Takes effect whole or not at all. Maps in `reuse`
   * (by name; their descriptors pass to the reply) are used instead of new ones: their layout must be the same.
   */
  load: { objects: readonly string[]; reuse?: Readonly<Record<string, Fd>> };
  /** The layout of the objects' maps, a line per map; nothing is loaded. */
  layout: { objects: readonly string[] };
  /** Gives a map, program or link a name in a bpf file system: it lasts until the name is removed. */
  pin: { fd: Fd; path: string };
  /** `fd` is undefined when nothing is pinned there. */
  getPinned: { path: string };
  mapInfo: { map: Fd };
  /** Replaces the program of a bpf_link, atomically. ENOLINK: its cgroup or namespace is gone. */
  linkUpdate: { link: Fd; program: Fd };
  linkInfo: { link: Fd };
  /** Does nothing where one is mounted. */
  mountBpffs: { path: string };
  /** Locks a directory until the descriptor is closed or the process ends; `lock` is undefined while another process holds it. */
  lock: { path: string };
  /** Attaches a program to a cgroup directory by a bpf_link; released when the link's descriptor is closed (and no pin holds it). */
  attachCgroup: { program: Fd; cgroupPath: string };
  /** Attaches an sk_lookup program to a network namespace by a bpf_link. */
  attachNetns: { program: Fd; netns: Fd };
  mapUpdate: { map: Fd; key: Uint8Array; value: Uint8Array };
  /** Deleting what is not there is no error. */
  mapDelete: { map: Fd; key: Uint8Array };
  /** `value` is undefined when the key is absent. For per-CPU maps: the values of all CPUs one after another, each rounded up to 8 bytes. */
  mapLookup: { map: Fd; key: Uint8Array; valueSize: number };
  /** All keys of a map, one after another. */
  mapKeys: { map: Fd; keySize: number };
  /** Maps the array of the workers' heartbeats into this process, all slots empty, for `beat`. It keeps the map alive. */
  mapHeartbeats: { map: Fd };
  unmapHeartbeats: Record<never, never>;
  /** Tries one thing and changes nothing. The kernel's refusal is an answer, not an error. */
  probe: BpfTrial;
}
/** Numbers are those of <linux/bpf.h>. `link` and `linkUpdate` aim at no target: EBADF means that the kernel can. */
export type BpfTrial =
  | { trial: "program"; programType: number; attachType: number; instructions: Uint8Array }
  | { trial: "map"; mapType: number; keySize: number; valueSize: number; maxEntries: number; flags: number }
  | { trial: "link"; program: Fd; attachType: number }
  | { trial: "linkUpdate"; program: Fd }
  | { trial: "destroySocket" };
export interface BpfMapInfo {
  fd: Fd;
  keySize: number;
  /** For per-CPU maps: bytes of one lookup, all CPUs together. */
  valueSize: number;
  maxEntries: number;
}
export interface BpfReplies {
  load: { programs: Record<string, Fd>; maps: Record<string, BpfMapInfo> };
  layout: { description: string };
  pin: undefined;
  getPinned: { fd: Fd | undefined };
  mapInfo: BpfMapInfo;
  linkUpdate: undefined;
  /** `target`: the cgroup's id, which is its directory's inode number, or the namespace's inode number; 0 when it is gone. */
  linkInfo: { id: number; program: number; target: bigint | undefined };
  mountBpffs: undefined;
  lock: { lock: Fd | undefined };
  attachCgroup: { link: Fd };
  attachNetns: { link: Fd };
  mapUpdate: undefined;
  mapDelete: undefined;
  mapLookup: { value: Uint8Array | undefined };
  mapKeys: { keys: Uint8Array };
  mapHeartbeats: undefined;
  unmapHeartbeats: undefined;
  /** Whoever gets `fd` closes it. */
  probe: { fd: Fd | undefined; errno: string | undefined };
}

export interface NetnsRequests {
  /** Opens a namespace by path (`/proc/<pid>/ns/net`, `/run/netns/<name>`). `cookie` is undefined where SO_NETNS_COOKIE is missing (< 5.14). */
  open: { path: string };
  /** A non-blocking listening TCP socket created in that namespace; IPv6 addresses are dual-stack (`::` serves v4-mapped too). */
  listen: { netns: Fd; address: string; port: number; backlog: number };
  /** An unbound TCP socket created in that namespace (to learn its cookie by the `sock_create` program on old kernels). */
  socket: { netns: Fd; family: 4 | 6 };
  /**
   * Delivers what carries `sourceMark` (layout.ts) to the namespace itself: rules, routes and
   * sysctls, in the namespace alone. No different when done twice; whole or not at all.
   */
  route: { netns: Fd; hasIpv6: boolean };
  /** Takes away what `route` left there, in this process or one before, and restores the sysctls. */
  unroute: { netns: Fd };
  /** How many sockets still exchange data by what `route` did, also those that were closed with data to be sent. */
  routed: { netns: Fd };
  close: { fd: Fd };
}
export interface NetnsReplies {
  open: { netns: Fd; cookie: NetnsCookie | undefined; inode: bigint; hasIpv6: boolean };
  listen: { fd: Fd };
  socket: { fd: Fd };
  route: undefined;
  unroute: undefined;
  routed: { sockets: number };
  close: undefined;
}

/** Errors thrown by the addon carry `errno` (symbolic, such as "EPERM") and `syscall`; their message says what was attempted, why it failed and what to do. */
export interface NativeError extends Error {
  errno: string;
  syscall: string;
}

export interface ReactorOptions {
  /** Blocks of 16 KiB in this worker's slab. */
  blocks: number;
  /** Index of this worker in its process: accepted descriptors go to the least loaded one. */
  worker: number;
  /** Overwrites freed blocks with 0xdb (test builds). */
  poison: boolean;
  /** Written by native, `statCount` elements (layout.ts); may lie in a SharedArrayBuffer. */
  stats: Float64Array;
}

/** See src/runtime/reactor.ts, which is the only user. */
export interface NativeReactor {
  readonly slab: ArrayBuffer;
  readonly events: ArrayBuffer;
  readonly commands: ArrayBuffer;
  /** The current generation of each connection index. */
  readonly generations: ArrayBuffer;
  /** `onTurn` handles words [begin, end) of the event ring; then the commands that `filledWord` counts are executed. */
  start(onTurn: (begin: number, end: number) => void): void;
  /** Executes `words` words of the command ring now. */
  submit(words: number): void;
  /** The index of a new connection, for a connect command; -1 when there are too many. */
  reserve(): number;
  /** Looks for events in the next iteration of the loop although none was reported. */
  wake(): void;
  /** Closes all connections as they are and stops; idempotent. */
  close(): void;
}

/** Certificates and key as DER. */
export interface TlsContextOptions {
  /** Our certificate, then what leads to the peer's roots. Empty: only a client without a certificate. */
  certificateChain: readonly Uint8Array[];
  /** PKCS #8. Overwritten with zeros by the call, whatever comes of it. */
  key: Uint8Array;
  /** Whoever signed what leads to the peer's certificate. */
  roots: readonly Uint8Array[];
  /** ALPN, the preferred first; at most 16. */
  protocols: readonly string[];
  /** Of clients; a server without one is always refused. False: clients are asked for one, and it is verified. */
  requiresPeerCertificate: boolean;
  /** The X25519MLKEM768 group first. */
  isHybrid: boolean;
  /** Our keys are changed after writing so many records; 2 ** 23 is below what AES-GCM allows. */
  keyUpdateRecords: number;
}

export interface Native {
  bpf<Op extends keyof BpfRequests>(op: Op, request: BpfRequests[Op]): BpfReplies[Op];
  netns<Op extends keyof NetnsRequests>(op: Op, request: NetnsRequests[Op]): NetnsReplies[Op];
  /** Says that the worker's loop runs: to the BPF programs, if heartbeats are mapped, and to the other workers. */
  beat(worker: number): void;
  /**
   * Makes or replaces the context of that id, for all workers: sessions that begin from now on use it, others are left
   * alone. Throws when a part is not what it should be, and changes nothing then.
   */
  setTlsContext(id: number, options: TlsContextOptions): void;
  /** Sessions can no longer begin with it. */
  removeTlsContext(id: number): void;
  /** PR_SET_DUMPABLE 0 and RLIMIT_CORE 0. */
  hardenProcess(): void;
  /** To the hard limit. Returns how many descriptors this process may have now. */
  raiseDescriptorLimit(): number;
  /** How long a peer may acknowledge nothing before its connection is given up: of sockets made from now on. */
  setPeerTimeout(milliseconds: number): void;
  Reactor: new (options: ReactorOptions) => NativeReactor;
}

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Loads native/build (development) or the prebuilt addon of this platform (release). */
export const native: Native = createRequire(import.meta.url)("node-gyp-build")(join(root, "native"));
/** The directory of the compiled BPF objects. */
export const bpfObjectsPath = join(root, "build", "bpf");
