// Captures the connections of enrolled pods: loads and attaches the BPF programs, opens the proxy's listeners in the
// pods' network namespaces, and keeps the maps that the programs judge by.
//
//   prepare ──> arm ──> disarm ──> release        A pod is captured between arm and disarm, and not a moment longer;
//                └────> leave ───> release         everything that a captured connection needs is there before and after.
//                                                  `leave` instead of `disarm` when the proxy goes and the pod stays.
//
// Without `pins` all of it ends with this process, in whatever way. With `pins` programs and maps stay in force and the
// next process adopts them; `settle` takes away what it did not enroll again. A strict pod so is never without them.

import { type Cidr, formatAddress, type IpAddress, sameAddress } from "../mesh/address.ts";
import { type Fd, type NativeError, type NetnsCookie, native } from "../runtime/native.ts";
import { AdoptedPods } from "./adopted-pods.ts";
import { closeFd } from "./bpf-map.ts";
import { makePinsDirectory } from "./bpffs.ts";
import { lockInstance } from "./instance-lock.ts";
import { hasListener } from "./judge.ts";
import { isDefunct, type KernelMaps, KernelObjects } from "./kernel-objects.ts";
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
  type OptOutRule,
  sumU64,
} from "./layout.ts";
import { NodeRules } from "./node-rules.ts";
import { type OptOut, optOutRules } from "./opt-out.ts";
import { listenInPod } from "./pod-listener.ts";
import { ProbeExemption } from "./probe-exemption.ts";
import { reasons } from "./reasons.ts";
import { replaceKeys } from "./replace-keys.ts";
import { removeSourceRoutes, SourceRoutes } from "./source-routes.ts";

export interface CaptureOptions {
  /** The directory of the compiled *.bpf.o files. */
  objectsPath: string;
  /** Absolute cgroup directories: applications live below the first, this process in the second. */
  podsCgroup: string;
  proxyCgroup: string;
  /** A directory of the bpf file system, of this instance alone; nothing is pinned without. */
  pins?: string;
  /** What namespaces may do that are neither pods' nor known to be outside the mesh; without it they are not told apart. */
  unknownPods?: "pass" | "deny";
  /** The cgroup of whoever probes the pods; need not be there. */
  kubeletCgroup?: string | undefined;
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
  /** Ports on which this node may probe the pod where the kubelet's cgroup cannot tell its probes. */
  readonly probePorts?: readonly number[];
  /** Whether outbound connections to what is not the mesh's are captured too. */
  readonly observesEgress?: boolean;
}

export interface RefusedEndpoint {
  readonly address: IpAddress;
  readonly port: number;
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
  /** Why connections inside this pod cannot be made under their clients' addresses; undefined: they can. */
  readonly sourceProblem: string | undefined;
}

export interface CaptureFaults {
  /** Hooks whose cgroup is gone. */
  readonly defunctHooks: readonly string[];
  /** Pods whose namespace is gone. */
  readonly defunctPods: readonly string[];
  /** Pods in which a listener of the proxy is missing. */
  readonly deafPods: readonly string[];
}

interface PodState {
  readonly hasIpv6: boolean;
  addresses: readonly IpAddress[];
  /** POD_* of bpf/structs.h. */
  flags: number;
  isArmed: boolean;
  /** Strict, and left: its entries in the maps stay in force. */
  isSealed: boolean;
  link: Fd | undefined;
}

export class Capture implements Disposable {
  readonly rules: NodeRules;
  /** undefined: no cgroup was named. */
  readonly probeExemption: ProbeExemption | undefined;
  readonly #objects: KernelObjects;
  readonly #pods: Map<PreparedPod, PodState>;
  readonly #adopted: AdoptedPods;
  readonly #sources: SourceRoutes;
  /** Released, but for the routing by which their open connections live. */
  readonly #routed: Set<PreparedPod>;
  readonly #lock: Disposable;
  #ownNetnsInode: bigint;
  #isSettled: boolean;
  #isClosed: boolean;

  private constructor(objects: KernelObjects, lock: Disposable, kubeletCgroup: string | undefined) {
    this.rules = new NodeRules(objects.maps);
    this.probeExemption =
      kubeletCgroup === undefined ? undefined : new ProbeExemption(kubeletCgroup, objects, this.rules);
    this.#objects = objects;
    this.#pods = new Map();
    this.#adopted = new AdoptedPods(objects.maps);
    this.#sources = new SourceRoutes();
    this.#routed = new Set();
    this.#lock = lock;
    this.#ownNetnsInode = 0n;
    this.#isSettled = false;
    this.#isClosed = false;
  }

  /** Loads and attaches; the hooks pass everything until a pod is armed. Whole or not at all; `settle` completes it. */
  static start(options: CaptureOptions): Capture {
    using undo = new DisposableStack();
    if (options.pins !== undefined) {
      makePinsDirectory(options.pins);
      undo.use(lockInstance([options.pins, options.podsCgroup]));
    }
    const objects = KernelObjects.load(options.objectsPath, options.pins);
    const capture = new Capture(objects, undo.move(), options.kubeletCgroup);
    try {
      capture.#attach(options);
    } catch (error) {
      capture.close();
      throw error;
    }
    return capture;
  }

  /** Layouts of other versions that a previous process left, and `settle` replaces. */
  get otherLayouts(): readonly string[] {
    return this.#objects.otherLayouts;
  }

  /** How many pods of a previous process are in force and not enrolled again. */
  get adoptedPods(): number {
    return this.#adopted.size;
  }

  /**
   * To be called when every pod of the configuration was armed or refused: what these maps know is now in force
   * everywhere, and what a previous process left is not. `keepsStrict`: but for its strict pods.
   */
  settle({ keepsStrict }: { keepsStrict: boolean }): void {
    const namespaces = this.#objects.otherNamespaces([...this.#pods.keys()].map(({ cookie }) => cookie));
    this.#adopted.withdraw(keepsStrict, (cookie) => this.#objects.detachNetns(undefined, cookie));
    const inForce = [...this.#pods].flatMap(([{ cookie }, { isArmed }]) => (isArmed ? cookie : []));
    removeSourceRoutes(namespaces);
    this.#objects.settle([...inForce, ...this.#adopted.cookies]);
    this.rules.settle(new Set([...[...this.#pods.keys()].map(({ id }) => id), ...this.#adopted.ids]));
    this.#isSettled = true;
  }

  /** What the hooks judge by, to be read. */
  get maps(): KernelMaps {
    return this.#objects.maps;
  }

  /** What is not attached any more, by name, and which pods' listeners are not there. */
  faults(): CaptureFaults {
    const pods = [...this.#pods].filter(([, { isArmed }]) => isArmed);
    const namesOf = (isAt: (pod: PreparedPod, state: PodState) => boolean) =>
      pods.filter(([pod, state]) => isAt(pod, state)).map(([{ name }]) => name);
    return {
      defunctHooks: this.#objects.defunctLinks,
      defunctPods: namesOf((_, { link }) => link !== undefined && isDefunct(link)),
      deafPods: namesOf(({ id, listeners }) => {
        const { LISTENER_OUTBOUND, LISTENER_INBOUND4, LISTENER_INBOUND6 } = layout;
        const wanted = [LISTENER_OUTBOUND, LISTENER_INBOUND4, LISTENER_INBOUND6].slice(0, listeners.length);
        return !wanted.every((which) => hasListener(this.maps, id, which));
      }),
    };
  }

  get originalDestinationMap(): Fd {
    return this.#objects.maps.original_destination.fd;
  }

  get bypassMap(): Fd {
    return this.#objects.maps.bypass.fd;
  }

  #attach({ podsCgroup, proxyCgroup, unknownPods }: CaptureOptions): void {
    native.bpf("mapHeartbeats", { map: this.#objects.maps.heartbeats.fd });
    this.#objects.attachCgroup("culvert_sock_create", "proxy", proxyCgroup);
    this.#objects.attachCgroup("culvert_sockops", "proxy", proxyCgroup);
    this.#knowOwnNetns(proxyCgroup);
    // Before the hooks that ask: not one connect of a namespace that nothing is known of gets past them.
    this.rules.setUnknown(unknownPods);
    if (this.probeExemption === undefined) {
      this.rules.passProbesByAddress(true);
      this.#objects.detachCgroup("culvert_probe_exemption", "kubelet");
    }
    this.probeExemption?.check();
    this.#objects.attachCgroup("culvert_sockops", "pods", podsCgroup);
    this.#objects.attachCgroup("culvert_bind4", "pods", podsCgroup);
    this.#objects.attachCgroup("culvert_bind6", "pods", podsCgroup);
    this.#objects.attachCgroup("culvert_getpeername4", "pods", podsCgroup);
    this.#objects.attachCgroup("culvert_getpeername6", "pods", podsCgroup);
    this.#objects.attachCgroup("culvert_connect4", "pods", podsCgroup);
    this.#objects.attachCgroup("culvert_connect6", "pods", podsCgroup);
  }

  #knowOwnNetns(proxyCgroup: string): void {
    const own = native.netns("open", { path: "/proc/self/ns/net" });
    try {
      this.#ownNetnsInode = own.inode;
      const cookie = this.#cookieByStorage(own.netns);
      if (cookie !== undefined) this.rules.addPlain(cookie);
      this.#knowMachinesNetns();
      // Otherwise the hooks would take this process's listeners for an impostor's, and quietly capture nothing.
      if (cookie === undefined) {
        throw new Error(
          `start capture: this process is not in its own cgroup ${proxyCgroup}; enter it before the start`,
        );
      }
    } finally {
      closeFd(own.netns);
    }
  }

  /** Pods of the host network are in it, which need not be this process's own. */
  #knowMachinesNetns(): void {
    try {
      this.rules.addPlain(this.cookieAt("/proc/1/ns/net"));
    } catch {
      // Not to be seen from this container.
    }
  }

  /** The cookie of the namespace at a path; throws when there is none. */
  cookieAt(netnsPath: string): NetnsCookie {
    const { netns, cookie = this.#cookieByStorage(netns) } = native.netns("open", { path: netnsPath });
    closeFd(netns);
    if (cookie === undefined) throw new Error(`open network namespace ${netnsPath}: its cookie cannot be read`);
    return cookie;
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
    // An address that a network covers from now on is never without both.
    replaceKeys(destinations, Iterator.from(addresses).map(encodeAddress), encodeU32(1), () =>
      pod_cidrs.update(encodeU32(0), networks),
    );
  }

  /** Of what `setDestinations` set. What is new is there before what is gone goes. Throws when there are too many. */
  changeDestinations(added: Iterable<IpAddress>, removed: Iterable<IpAddress>, podCidrs: readonly Cidr[]): void {
    const { destinations, pod_cidrs } = this.#objects.maps;
    const networks = encodeNetworks(podCidrs);
    for (const address of added) destinations.update(encodeAddress(address), encodeU32(1));
    pod_cidrs.update(encodeU32(0), networks);
    for (const address of removed) destinations.delete(encodeAddress(address));
  }

  /** Of what `setRefused` set. */
  changeRefused(added: Iterable<RefusedEndpoint>, removed: Iterable<RefusedEndpoint>): void {
    const { refused } = this.#objects.maps;
    for (const { address, port } of removed) refused.delete(encodeRefused(address, port));
    for (const { address, port } of added) refused.update(encodeRefused(address, port), encodeU32(1));
  }

  /** Makes the endpoints that refuse in the connect hook exactly these; what stays is not touched. */
  setRefused(endpoints: Iterable<RefusedEndpoint>): void {
    const keys = Iterator.from(endpoints).map(({ address, port }) => encodeRefused(address, port));
    replaceKeys(this.#objects.maps.refused, keys, encodeU32(1));
  }

  /**
   * For a pod that cannot be enrolled: what is strict of it fails from here on, and does not pass. Throws where not even its
   * namespace is known.
   */
  seal(request: PodRequest): PreparedPod {
    const pod = this.#prepare(request, { isServed: false });
    try {
      this.arm(pod);
      return pod;
    } catch (error) {
      this.release(pod);
      throw error;
    }
  }

  /** Opens the pod's namespace and the proxy's listeners in it. Captures nothing yet. */
  prepare(request: PodRequest): PreparedPod {
    return this.#prepare(request, { isServed: true });
  }

  #prepare(request: PodRequest, { isServed }: { isServed: boolean }): PreparedPod {
    const rules = optOutRules(request.name, request.outboundOptOuts, request.inboundOptOuts);
    const { netns, inode, hasIpv6, cookie: knownCookie } = native.netns("open", { path: request.netnsPath });
    const listeners: PodListener[] = [];
    let id: number | undefined;
    try {
      if (inode === this.#ownNetnsInode) {
        throw new Error(
          `enroll pod ${request.name}: ${request.netnsPath} is the proxy's own network namespace (hostNetwork?)`,
        );
      }
      const cookie = knownCookie ?? this.#cookieByStorage(netns);
      if (cookie === undefined) throw new Error(`enroll pod ${request.name}: its netns cookie cannot be read`);
      for (const other of [...this.#pods.keys()].filter((pod) => pod.cookie === cookie)) {
        if (other.listeners.length > 0)
          throw new Error(`enroll pod ${request.name}: its network namespace is pod ${other.name}'s`);
        // It was sealed. What keeps it closed is handed on without a gap, as a previous process's is.
        this.leave(other);
        this.release(other);
      }
      id = this.#adopted.idOf(cookie) ?? this.#freeId();
      const listen = (direction: PodListener["direction"], address: string, port: number): Fd => {
        const fd = listenInPod({ netns, inode, address, port });
        listeners.push({ direction, fd });
        return fd;
      };
      if (isServed) {
        const outbound = listen("outbound", hasIpv6 ? "::" : "0.0.0.0", layout.MESH_PORT_OUTBOUND);
        this.#setListener(id, layout.LISTENER_OUTBOUND, outbound);
        // Bound to loopback: only sk_lookup leads there, never a packet from outside.
        const inbound4 = listen("inbound", "127.0.0.1", layout.MESH_PORT_INBOUND);
        this.#setListener(id, layout.LISTENER_INBOUND4, inbound4);
        if (hasIpv6) {
          const inbound6 = listen("inbound", "::1", layout.MESH_PORT_INBOUND);
          this.#setListener(id, layout.LISTENER_INBOUND6, inbound6);
        }
      }
      this.#writeOptOuts(id, rules);
      this.rules.setProbePorts(id, request.probePorts ?? []);
      const sourceProblem = isServed ? this.#routeSources(cookie, netns, hasIpv6) : "it is not enrolled";
      const pod = { id, name: request.name, netns, cookie, listeners, sourceProblem };
      const addresses = addressesOf(request, hasIpv6);
      const flags = flagsOf(request) | (isServed ? 0 : layout.POD_SEALED);
      this.#pods.set(pod, { hasIpv6, addresses, flags, isArmed: false, isSealed: false, link: undefined });
      return pod;
    } catch (error) {
      // What an adopted pod has stays in force: it passes or, if it is strict, fails.
      if (id !== undefined && !this.#adopted.ids.includes(id)) this.#forget(id);
      closeAll(netns, listeners);
      throw error;
    }
  }

  #routeSources(cookie: NetnsCookie, netns: Fd, hasIpv6: boolean): string | undefined {
    try {
      this.#sources.hold(cookie, netns, hasIpv6);
      return undefined;
    } catch (error) {
      return (error as NativeError).message;
    }
  }

  /**
   * Starts capturing: inbound first, for which the listeners are there; the outbound hook last. Answers for how many
   * seconds the pod has dialled what the mesh wants before that (see `unknownPods`); undefined when it has not.
   */
  arm(pod: PreparedPod): number | undefined {
    const state = this.#stateOf(pod);
    if (state.isArmed) return undefined;
    for (const address of state.addresses) this.#checkOwner(pod, address);
    state.isArmed = true;
    try {
      this.#adopted.claim(pod.cookie, state.addresses);
      // Before the program that asks for them: in the place of another layout's it must know the pod at once.
      this.#writeAddresses(pod, state, state.flags);
      state.link ??= this.#objects.attachNetns("culvert_sk_lookup", pod.netns, pod.cookie);
      this.#writePod(pod, state, state.flags);
      return this.rules.takeGapSeconds(pod.cookie);
    } catch (error) {
      this.disarm(pod);
      throw error;
    }
  }

  /**
   * Puts other addresses and capture options of a pod in force. Each entry of the maps is replaced as a whole: nothing passes
   * in between. Throws, with nothing changed, when they cannot be.
   */
  update(pod: PreparedPod, request: PodRequest): void {
    const rules = optOutRules(request.name, request.outboundOptOuts, request.inboundOptOuts);
    const state = this.#stateOf(pod);
    const addresses = addressesOf(request, state.hasIpv6);
    if (state.isArmed) for (const address of addresses) this.#checkOwner(pod, address);
    const stale = state.addresses.filter((old) => !addresses.some((it) => sameAddress(it, old)));
    this.#writeOptOuts(pod.id, rules);
    this.rules.setProbePorts(pod.id, request.probePorts ?? []);
    state.addresses = addresses;
    state.flags = flagsOf(request);
    if (!state.isArmed) return;
    this.#writeAddresses(pod, state, state.flags);
    this.#writePod(pod, state, state.flags);
    this.#forgetAddresses(pod, stale);
  }

  #writeOptOuts(id: number, rules: readonly OptOutRule[]): void {
    if (rules.length > 0) this.#objects.maps.opt_outs.update(encodeU32(id), encodeOptOuts(rules));
    else this.#objects.maps.opt_outs.delete(encodeU32(id));
  }

  #forgetAddresses(pod: PreparedPod, addresses: readonly IpAddress[]): void {
    for (const address of addresses) {
      const key = encodeAddress(address);
      const owner = this.#objects.maps.pod_by_address.lookup(key);
      if (owner !== undefined && decodeU32(owner) === pod.id) this.#objects.maps.pod_by_address.delete(key);
    }
  }

  #checkOwner(pod: PreparedPod, address: IpAddress): void {
    const owner = this.#objects.maps.pod_by_address.lookup(encodeAddress(address));
    if (owner !== undefined && decodeU32(owner) !== pod.id) {
      const name = [...this.#pods.keys()].find(({ id }) => id === decodeU32(owner))?.name;
      if (name === undefined) return; // A pod's of before that is gone, or will be.
      throw new Error(`enroll pod ${pod.name}: address ${formatAddress(address)} is pod ${name}'s`);
    }
  }

  #writeAddresses(pod: PreparedPod, { addresses }: PodState, flags: number): void {
    const { pod_by_address } = this.#objects.maps;
    for (const address of addresses) pod_by_address.update(encodeAddress(address), encodePodAddress(pod.id, flags));
  }

  #writePod(pod: PreparedPod, { addresses }: PodState, flags: number): void {
    const { pods } = this.#objects.maps;
    const [ip4, ip6] = ([4, 6] as const).map((family) => addresses.find((address) => address.family === family));
    pods.update(encodeU64(pod.cookie), encodePod(pod.id, flags, ip4, ip6));
  }

  /**
   * As `disarm`, for a proxy that goes: where a pod is strict its connections fail from here on, and go on failing after
   * `release` for as long as the programs stay in force. Idempotent.
   */
  leave(pod: PreparedPod): void {
    const state = this.#pods.get(pod);
    if (!state?.isArmed) return;
    if ((state.flags & (layout.POD_STRICT_OUTBOUND | layout.POD_STRICT_INBOUND)) === 0) {
      // It passes from here on, and is no unknown one.
      this.rules.addPlain(pod.cookie);
      this.disarm(pod);
      return;
    }
    state.isSealed = true;
    this.#writeAddresses(pod, state, state.flags | layout.POD_SEALED);
    this.#writePod(pod, state, state.flags | layout.POD_SEALED);
  }

  /** Captures nothing new of this pod. What was captured before still waits in its listeners. Idempotent. */
  disarm(pod: PreparedPod): void {
    const state = this.#pods.get(pod);
    if (!state?.isArmed) return;
    state.isArmed = false;
    this.#objects.maps.pods.delete(encodeU64(pod.cookie));
    this.#forgetAddresses(pod, state.addresses);
  }

  /**
   * Closes the pod's listeners and namespace; nobody may use them any more. Its id may be given to another. Idempotent.
   * `keepsRouting`: connections that were made in it under their clients' addresses go on, until `endRouting`.
   */
  release(pod: PreparedPod, { keepsRouting = false } = {}): void {
    const state = this.#pods.get(pod);
    if (state === undefined) return;
    if (state.isSealed) {
      this.#adopted.add(pod.cookie, pod.id, state.addresses);
      if (state.link !== undefined) closeFd(state.link);
    } else if (this.#adopted.idOf(pod.cookie) === undefined) {
      this.disarm(pod);
      // Only now: a connection that was diverted just before it was disarmed needs it to find its listener (IPv6).
      this.#objects.detachNetns(state.link, pod.cookie);
      this.#forget(pod.id);
    }
    // Else it was never armed, and what a previous process left of it stays in force.
    this.#pods.delete(pod);
    for (const { fd } of pod.listeners) closeFd(fd);
    this.#routed.add(pod);
    if (!keepsRouting) this.endRouting(pod);
  }

  /** Of a released pod whose connections are closed: the kernel still sends what an application has not read yet. */
  usesRouting(pod: PreparedPod): boolean {
    return this.#routed.has(pod) && pod.sourceProblem === undefined && this.#sources.isInUse(pod.cookie, pod.netns);
  }

  /** Of a released pod, when none of those connections is open any more. Idempotent; `close` does it for all. */
  endRouting(pod: PreparedPod): void {
    if (!this.#routed.delete(pod)) return;
    try {
      if (pod.sourceProblem === undefined) this.#sources.letGo(pod.cookie, pod.netns);
    } finally {
      closeFd(pod.netns);
    }
  }

  #setListener(id: number, which: number, fd: Fd): void {
    this.#objects.maps.listeners.update(encodeU32(id * layout.LISTENERS_PER_POD + which), encodeU64(BigInt(fd)));
  }

  #forget(id: number): void {
    for (const which of [layout.LISTENER_INBOUND4, layout.LISTENER_INBOUND6, layout.LISTENER_OUTBOUND]) {
      this.#objects.maps.listeners.delete(encodeU32(id * layout.LISTENERS_PER_POD + which));
    }
    this.#objects.maps.opt_outs.delete(encodeU32(id));
    this.rules.setProbePorts(id, []);
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

  /** What the end of this process does to new connections, at once: no listener takes them. Pins stay as they are. */
  abandon(): void {
    for (const { listeners } of this.#pods.keys()) for (const { fd } of listeners) closeFd(fd);
  }

  /**
   * Withdraws every pod and detaches. What is pinned stays in force where a strict pod was enrolled (`staysInForce`), and
   * where a previous process left it and the start did not get as far as `settle`. Idempotent.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const pod of [...this.#pods.keys()]) {
      this.leave(pod);
      this.release(pod);
    }
    // Last, and each whatever becomes of the others.
    using rest = new DisposableStack();
    for (const pod of this.#routed) rest.defer(() => this.endRouting(pod));
    native.bpf("unmapHeartbeats", {});
    this.#objects.close({ keepsPins: this.staysInForce });
    this.#lock[Symbol.dispose]();
  }

  /** After `close`: strict pods go on being enforced, by what is pinned. */
  get staysInForce(): boolean {
    return this.#objects.isPinned && (this.#adopted.hasStrict || (this.#objects.isAdopted && !this.#isSettled));
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
    const taken = new Set([...[...this.#pods.keys()].map(({ id }) => id), ...this.#adopted.ids]);
    for (let id = 0; id < layout.MAX_PODS; id++) if (!taken.has(id)) return id;
    throw new Error(`enroll a pod: ${layout.MAX_PODS} are enrolled, which is the most one node can have`);
  }
}

function addressesOf(request: PodRequest, hasIpv6: boolean): readonly IpAddress[] {
  return request.addresses.filter(({ family }) => family === 4 || hasIpv6);
}

function flagsOf(request: PodRequest): number {
  return (
    (request.outboundStrict ? layout.POD_STRICT_OUTBOUND : 0) |
    (request.inboundStrict ? layout.POD_STRICT_INBOUND : 0) |
    (request.observesEgress ? layout.POD_OBSERVES_EGRESS : 0)
  );
}

function closeAll(netns: Fd, listeners: readonly PodListener[]): void {
  for (const { fd } of listeners) closeFd(fd);
  closeFd(netns);
}
