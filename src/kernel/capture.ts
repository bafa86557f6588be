// Captures the connections of enrolled pods: loads and attaches the BPF programs, opens the proxy's listeners in the
// pods' network namespaces, and keeps the maps that the programs judge by.
//
//   prepare ──> arm ──> disarm ──> release        A pod is captured between arm and disarm, and not a moment longer;
//                                                  everything that a captured connection needs is there before and after.
//
// All of it belongs to this process: when it ends, in whatever way, the kernel detaches and frees everything.

import { addressFromBytes, type Cidr, formatAddress, type IpAddress } from "../mesh/address.ts";
import { type Fd, type NetnsCookie, native } from "../runtime/native.ts";
import { closeFd } from "./bpf-map.ts";
import { KernelObjects } from "./kernel-objects.ts";
import {
  decodeCookie,
  decodeU32,
  encodeAddress,
  encodeNetworks,
  encodeOptOuts,
  encodePod,
  encodePodAddress,
  encodeRefused,
  encodeU32,
  encodeU64,
  layout,
  sumU64,
} from "./layout.ts";
import { type OptOut, optOutRules } from "./opt-out.ts";
import { reasons } from "./reasons.ts";

export interface CaptureOptions {
  /** The directory of the compiled *.bpf.o files. */
  objectsPath: string;
  /** Absolute cgroup directories: applications live below the first, this process in the second. */
  podsCgroup: string;
  proxyCgroup: string;
}

export interface PodRequest {
  readonly name: string;
  /** `/run/netns/<name>` or `/proc/<pid>/ns/net`. */
  readonly netnsPath: string;
  readonly addresses: readonly IpAddress[];
  readonly outboundOptOuts: readonly OptOut[];
  readonly inboundOptOuts: readonly OptOut[];
  /** Whether what the proxy cannot take fails (outbound EPERM, inbound a reset) instead of passing. Default: it passes. */
  readonly outboundStrict?: boolean;
  readonly inboundStrict?: boolean;
}

export interface PodListener {
  readonly direction: "outbound" | "inbound";
  readonly fd: Fd;
}

/** Descriptors stay Capture's own: `release` closes them. */
export interface PreparedPod {
  /** The pod_id of original-destination records. */
  readonly id: number;
  readonly name: string;
  readonly netns: Fd;
  readonly cookie: NetnsCookie;
  readonly listeners: readonly PodListener[];
}

interface PodState {
  readonly addresses: readonly IpAddress[];
  /** POD_* of bpf/structs.h. */
  readonly flags: number;
  isArmed: boolean;
  link: Fd | undefined;
}

/** Clamped by net.core.somaxconn, 4096 by default. */
const backlog = 4096;

export class Capture implements Disposable {
  readonly #objects: KernelObjects;
  readonly #pods: Map<PreparedPod, PodState>;
  #ownNetnsInode: bigint;
  #isClosed: boolean;

  private constructor(objects: KernelObjects) {
    this.#objects = objects;
    this.#pods = new Map();
    this.#ownNetnsInode = 0n;
    this.#isClosed = false;
  }

  /** Loads and attaches; the hooks pass everything until a pod is armed. Whole or not at all. */
  static start(options: CaptureOptions): Capture {
    const capture = new Capture(KernelObjects.load(options.objectsPath));
    try {
      capture.#attach(options);
    } catch (error) {
      capture.close();
      throw error;
    }
    return capture;
  }

  get originalDestinationMap(): Fd {
    return this.#objects.maps.original_destination.fd;
  }

  #attach({ podsCgroup, proxyCgroup }: CaptureOptions): void {
    native.bpf("mapHeartbeats", { map: this.#objects.maps.heartbeats.fd });
    this.#objects.attachCgroup("culvert_sock_create", proxyCgroup);
    this.#objects.attachCgroup("culvert_sockops", proxyCgroup);
    this.#objects.attachCgroup("culvert_sockops", podsCgroup);
    this.#objects.attachCgroup("culvert_bind4", podsCgroup);
    this.#objects.attachCgroup("culvert_bind6", podsCgroup);
    this.#objects.attachCgroup("culvert_getpeername4", podsCgroup);
    this.#objects.attachCgroup("culvert_getpeername6", podsCgroup);
    this.#objects.attachCgroup("culvert_connect4", podsCgroup);
    this.#objects.attachCgroup("culvert_connect6", podsCgroup);

    const own = native.netns("open", { path: "/proc/self/ns/net" });
    try {
      this.#ownNetnsInode = own.inode;
      // Otherwise the hooks would take this process's listeners for an impostor's, and quietly capture nothing.
      if (this.#cookieByStorage(own.netns) === undefined) {
        throw new Error(
          `start capture: this process is not in its own cgroup ${proxyCgroup}; enter it before the start`,
        );
      }
    } finally {
      closeFd(own.netns);
    }
  }

  /** The cookie of a namespace as the sock_create program saw it; undefined when it did not see this process's socket. */
  #cookieByStorage(netns: Fd): NetnsCookie | undefined {
    const { fd } = native.netns("socket", { netns, family: 4 });
    try {
      const value = this.#objects.maps.proxy_sockets.lookup(encodeU32(fd));
      return value && decodeCookie(value);
    } finally {
      closeFd(fd);
    }
  }

  /** Makes the addresses and networks of interest exactly these; what stays is not touched. */
  setDestinations(addresses: Iterable<IpAddress>, podCidrs: readonly Cidr[]): void {
    const { destinations, pod_cidrs } = this.#objects.maps;
    const networks = encodeNetworks(podCidrs);
    const stale = new Map<string, Uint8Array>();
    for (const key of destinations.keys()) stale.set(formatAddress(addressFromBytes(key)), key);
    const present = encodeU32(1);
    for (const address of addresses) {
      if (!stale.delete(formatAddress(address))) destinations.update(encodeAddress(address), present);
    }
    pod_cidrs.update(encodeU32(0), networks);
    for (const key of stale.values()) destinations.delete(key);
  }

  /** Makes the endpoints that refuse in the connect hook exactly these; what stays is not touched. */
  setRefused(endpoints: Iterable<{ readonly address: IpAddress; readonly port: number }>): void {
    const { refused } = this.#objects.maps;
    const stale = new Map<string, Uint8Array>();
    const textOf = (key: Uint8Array) => Buffer.from(key).toString("hex");
    for (const key of refused.keys()) stale.set(textOf(key), key);
    for (const { address, port } of endpoints) {
      const key = encodeRefused(address, port);
      if (!stale.delete(textOf(key))) refused.update(key, encodeU32(1));
    }
    for (const key of stale.values()) refused.delete(key);
  }

  /** Opens the pod's namespace and the proxy's listeners in it. Captures nothing yet. */
  prepare(request: PodRequest): PreparedPod {
    const rules = optOutRules(request.name, request.outboundOptOuts, request.inboundOptOuts);
    const id = this.#freeId();
    const { netns, inode, hasIpv6, cookie: knownCookie } = native.netns("open", { path: request.netnsPath });
    const listeners: PodListener[] = [];
    try {
      if (inode === this.#ownNetnsInode) {
        throw new Error(
          `enroll pod ${request.name}: ${request.netnsPath} is the proxy's own network namespace (hostNetwork?)`,
        );
      }
      const cookie = knownCookie ?? this.#cookieByStorage(netns);
      if (cookie === undefined) throw new Error(`enroll pod ${request.name}: its netns cookie cannot be read`);
      for (const other of this.#pods.keys()) {
        if (other.cookie === cookie)
          throw new Error(`enroll pod ${request.name}: its network namespace is pod ${other.name}'s`);
      }
      const listen = (direction: PodListener["direction"], address: string, port: number): Fd => {
        const { fd } = native.netns("listen", { netns, address, port, backlog });
        listeners.push({ direction, fd });
        return fd;
      };
      listen("outbound", hasIpv6 ? "::" : "0.0.0.0", layout.MESH_PORT_OUTBOUND);
      // Bound to loopback: only sk_lookup leads there, never a packet from outside.
      const inbound4 = listen("inbound", "127.0.0.1", layout.MESH_PORT_INBOUND);
      this.#objects.maps.listeners.update(encodeU32(id * 2), encodeU64(BigInt(inbound4)));
      if (hasIpv6) {
        const inbound6 = listen("inbound", "::1", layout.MESH_PORT_INBOUND);
        this.#objects.maps.listeners.update(encodeU32(id * 2 + 1), encodeU64(BigInt(inbound6)));
      }
      if (rules.length > 0) this.#objects.maps.opt_outs.update(encodeU32(id), encodeOptOuts(rules));
      const pod = { id, name: request.name, netns, cookie, listeners };
      const addresses = request.addresses.filter(({ family }) => family === 4 || hasIpv6);
      const flags =
        (request.outboundStrict ? layout.POD_STRICT_OUTBOUND : 0) |
        (request.inboundStrict ? layout.POD_STRICT_INBOUND : 0);
      this.#pods.set(pod, { addresses, flags, isArmed: false, link: undefined });
      return pod;
    } catch (error) {
      this.#forget(id, netns, listeners);
      throw error;
    }
  }

  /** Starts capturing: inbound first, for which the listeners are there; the outbound hook last. */
  arm(pod: PreparedPod): void {
    const state = this.#stateOf(pod);
    if (state.isArmed) return;
    state.isArmed = true;
    try {
      state.link = this.#objects.attachNetns("culvert_sk_lookup", pod.netns);
      for (const address of state.addresses) this.#claim(pod, address);
      this.#write(pod, state, state.flags);
    } catch (error) {
      this.disarm(pod);
      throw error;
    }
  }

  #claim(pod: PreparedPod, address: IpAddress): void {
    const owner = this.#objects.maps.pod_by_address.lookup(encodeAddress(address));
    if (owner !== undefined && decodeU32(owner) !== pod.id) {
      const name = [...this.#pods.keys()].find(({ id }) => id === decodeU32(owner))?.name;
      throw new Error(`enroll pod ${pod.name}: address ${formatAddress(address)} is pod ${name}'s`);
    }
  }

  #write(pod: PreparedPod, { addresses }: PodState, flags: number): void {
    const { pod_by_address, pods } = this.#objects.maps;
    for (const address of addresses) pod_by_address.update(encodeAddress(address), encodePodAddress(pod.id, flags));
    const [ip4, ip6] = ([4, 6] as const).map((family) => addresses.find((address) => address.family === family));
    pods.update(encodeU64(pod.cookie), encodePod(pod.id, flags, ip4, ip6));
  }

  /** Captures nothing new of this pod. What was captured before still waits in its listeners. Idempotent. */
  disarm(pod: PreparedPod): void {
    const state = this.#pods.get(pod);
    if (!state?.isArmed) return;
    state.isArmed = false;
    this.#objects.maps.pods.delete(encodeU64(pod.cookie));
    if (state.link !== undefined) closeFd(state.link);
    state.link = undefined;
    for (const address of state.addresses) {
      const key = encodeAddress(address);
      const owner = this.#objects.maps.pod_by_address.lookup(key);
      if (owner !== undefined && decodeU32(owner) === pod.id) this.#objects.maps.pod_by_address.delete(key);
    }
  }

  /** Closes the pod's listeners and namespace; nobody may use them any more. Its id may be given to another. Idempotent. */
  release(pod: PreparedPod): void {
    this.disarm(pod);
    if (this.#pods.delete(pod)) this.#forget(pod.id, pod.netns, pod.listeners);
  }

  #forget(id: number, netns: Fd, listeners: readonly PodListener[]): void {
    this.#objects.maps.listeners.delete(encodeU32(id * 2));
    this.#objects.maps.listeners.delete(encodeU32(id * 2 + 1));
    this.#objects.maps.opt_outs.delete(encodeU32(id));
    for (const { fd } of listeners) closeFd(fd);
    closeFd(netns);
  }

  /** Judgements so far, by reason, all CPUs together. */
  reasonCounts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { number, name } of reasons) {
      const value = this.#objects.maps.reasons.lookup(encodeU32(number));
      counts[name] = value === undefined ? 0 : sumU64(value);
    }
    return counts;
  }

  /** Withdraws every pod and detaches. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const pod of [...this.#pods.keys()]) this.release(pod);
    native.bpf("unmapHeartbeats", {});
    this.#objects.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #stateOf(pod: PreparedPod): PodState {
    const state = this.#pods.get(pod);
    if (state === undefined) throw new Error(`pod ${pod.name} was released`);
    return state;
  }

  #freeId(): number {
    const taken = new Set([...this.#pods.keys()].map(({ id }) => id));
    for (let id = 0; id < layout.MAX_PODS; id++) if (!taken.has(id)) return id;
    throw new Error(`enroll a pod: ${layout.MAX_PODS} are enrolled, which is the most one node can have`);
  }
}
