// Pods whose connections are captured: the proxy's listeners in them, and what the programs know of each.
//
//   prepare ──> arm ──> disarm ──> release        A pod is captured between arm and disarm, and not a moment longer;
//                └────> leave ───> release         everything that a captured connection needs is there before and after.
//                                                  `leave` instead of `disarm` when the proxy goes and the pod stays.

import { formatAddress, type IpAddress, sameAddress } from "../mesh/address.ts";
import type { Fd, NetnsCookie } from "../runtime/native.ts";
import { AdoptedPods } from "./adopted-pods.ts";
import { closeFd } from "./bpf-map.ts";
import { hasListener } from "./judge.ts";
import { isDefunct, type KernelObjects } from "./kernel-objects.ts";
import { layout } from "./layout.ts";
import { inodeAt } from "./namespace-watches.ts";
import type { NetnsCookies } from "./netns-cookies.ts";
import type { NodeRules } from "./node-rules.ts";
import { isStrict, type PodRequest, type PodRules, type PreparedPod, podRules, sealed } from "./pod.ts";
import { PodEntries } from "./pod-entries.ts";
import { listenInPod } from "./pod-listeners.ts";
import { removeSourceRoutes, SourceRoutes } from "./source-routes.ts";

interface PodState {
  readonly hasIpv6: boolean;
  rules: PodRules;
  isArmed: boolean;
  /** Strict, and left: its entries in the maps stay in force. */
  isSealed: boolean;
  link: Fd | undefined;
}

export class CapturedPods {
  readonly #objects: KernelObjects;
  readonly #nodeRules: NodeRules;
  readonly #cookies: NetnsCookies;
  readonly #entries: PodEntries;
  readonly #adopted: AdoptedPods;
  readonly #pods: Map<PreparedPod, PodState>;
  /** By which connections come back that are made in pods under their clients' addresses. */
  readonly sources: SourceRoutes;

  constructor(objects: KernelObjects, nodeRules: NodeRules, cookies: NetnsCookies) {
    this.#objects = objects;
    this.#nodeRules = nodeRules;
    this.#cookies = cookies;
    this.#entries = new PodEntries(objects.maps, nodeRules);
    this.#adopted = new AdoptedPods(objects.maps, this.#entries);
    this.#pods = new Map();
    this.sources = new SourceRoutes();
  }

  /** How many pods of a previous process are in force and not enrolled again. */
  get adopted(): number {
    return this.#adopted.size;
  }

  /** Of a previous process's or, after `leave` and `release`, of this one's. */
  get leavesStrict(): boolean {
    return this.#adopted.hasStrict;
  }

  /** Takes away what a previous process left and this one did not enroll again; `keepsStrict`: but for its strict pods. */
  settle({ keepsStrict }: { keepsStrict: boolean }): void {
    const prepared = [...this.#pods.keys()];
    const namespaces = this.#objects.otherNamespaces(prepared.map(({ cookie }) => cookie));
    this.#adopted.withdraw(keepsStrict, (cookie) => this.#objects.detachNetns(undefined, cookie));
    removeSourceRoutes(namespaces);
    this.#objects.settle([...this.#armed().map(([{ cookie }]) => cookie), ...this.#adopted.cookies]);
    this.#nodeRules.settle(this.#takenIds());
  }

  /** Names of pods whose namespace is gone. */
  get defunct(): string[] {
    return this.#armed().flatMap(([{ name }, { link }]) => (link !== undefined && isDefunct(link) ? name : []));
  }

  /** Names of pods in which a listener of the proxy is missing. */
  get deaf(): string[] {
    const { maps } = this.#objects;
    return this.#armed().flatMap(([{ id, name, listeners }]) =>
      listeners.every(({ slot }) => hasListener(maps, id, slot)) ? [] : name,
    );
  }

  #armed(): [PreparedPod, PodState][] {
    return [...this.#pods].filter(([, { isArmed }]) => isArmed);
  }

  /** Opens the pod's namespace and the proxy's listeners in it. Captures nothing yet. */
  prepare(request: PodRequest): PreparedPod {
    return this.#prepare(request, { isServed: true });
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

  #prepare(request: PodRequest, { isServed }: { isServed: boolean }): PreparedPod {
    using undo = new DisposableStack();
    const opened = this.#cookies.open(request.netnsPath);
    const { netns, hasIpv6, cookie } = opened;
    undo.defer(() => closeFd(netns));
    const rules = podRules(request, hasIpv6);
    if (opened.inode === inodeAt("/proc/self/ns/net")) {
      throw new Error(
        `enroll pod ${request.name}: ${request.netnsPath} is the proxy's own network namespace (hostNetwork?)`,
      );
    }
    if (cookie === undefined) throw new Error(`enroll pod ${request.name}: its netns cookie cannot be read`);
    this.#takeOver(request.name, cookie);
    const adoptedId = this.#adopted.idOf(cookie);
    const id = adoptedId ?? this.#freeId();
    // What an adopted pod has stays in force: it passes or, if it is strict, fails.
    if (adoptedId === undefined) undo.defer(() => this.#entries.removeId(id));
    const listeners = isServed ? listenInPod(opened) : [];
    for (const { fd } of listeners) undo.defer(() => closeFd(fd));
    this.#entries.setListeners(id, listeners);
    this.#entries.setOptions(id, rules);
    const sourceProblem = isServed ? this.sources.hold(cookie, opened) : "it is not enrolled";
    const pod = { id, name: request.name, netns, cookie, listeners, sourceProblem };
    this.#pods.set(pod, {
      hasIpv6,
      rules: isServed ? rules : sealed(rules),
      isArmed: false,
      isSealed: false,
      link: undefined,
    });
    undo.move();
    return pod;
  }

  /** A sealed pod's namespace: what keeps it closed is handed on without a gap, as a previous process's is. */
  #takeOver(name: string, cookie: NetnsCookie): void {
    for (const other of [...this.#pods.keys()].filter((pod) => pod.cookie === cookie)) {
      if (other.listeners.length > 0) {
        throw new Error(`enroll pod ${name}: its network namespace is pod ${other.name}'s`);
      }
      this.leave(other);
      this.release(other);
    }
  }

  /**
   * Starts capturing: inbound first, for which the listeners are there; the outbound hook last. Answers for how many
   * seconds the pod has dialled what the mesh wants before that (see `unknownPods`); undefined when it has not.
   */
  arm(pod: PreparedPod): number | undefined {
    const state = this.#stateOf(pod);
    if (state.isArmed) return undefined;
    this.#checkOwners(pod, state.rules.addresses);
    state.isArmed = true;
    try {
      this.#adopted.claim(pod.cookie, state.rules.addresses);
      // Before the program that asks for them: in the place of another layout's it must know the pod at once.
      this.#entries.setAddresses(pod.id, state.rules);
      state.link ??= this.#objects.attachNetns("culvert_sk_lookup", pod.netns, pod.cookie);
      this.#entries.setNamespace(pod.cookie, pod.id, state.rules);
      return this.#nodeRules.takeGapSeconds(pod.cookie);
    } catch (error) {
      this.disarm(pod);
      throw error;
    }
  }

  /** Puts other addresses and capture options of a pod in force. Throws, with nothing changed, when they cannot be. */
  update(pod: PreparedPod, request: PodRequest): void {
    const state = this.#stateOf(pod);
    const rules = podRules(request, state.hasIpv6);
    if (state.isArmed) this.#checkOwners(pod, rules.addresses);
    const stale = state.rules.addresses.filter((old) => !rules.addresses.some((it) => sameAddress(it, old)));
    this.#entries.setOptions(pod.id, rules);
    state.rules = rules;
    if (!state.isArmed) return;
    this.#putInForce(pod, rules);
    this.#entries.removeAddresses(pod.id, stale);
  }

  #putInForce(pod: PreparedPod, rules: PodRules): void {
    this.#entries.setAddresses(pod.id, rules);
    this.#entries.setNamespace(pod.cookie, pod.id, rules);
  }

  #checkOwners(pod: PreparedPod, addresses: readonly IpAddress[]): void {
    for (const address of addresses) {
      const owner = this.#entries.ownerOf(address);
      if (owner === undefined || owner === pod.id) continue;
      const name = [...this.#pods.keys()].find(({ id }) => id === owner)?.name;
      if (name === undefined) continue; // A pod's of before that is gone, or will be.
      throw new Error(`enroll pod ${pod.name}: address ${formatAddress(address)} is pod ${name}'s`);
    }
  }

  /**
   * As `disarm`, for a proxy that goes: where a pod is strict its connections fail from here on, and go on failing after
   * `release` for as long as the programs stay in force. Idempotent.
   */
  leave(pod: PreparedPod): void {
    const state = this.#pods.get(pod);
    if (!state?.isArmed) return;
    if (!isStrict(state.rules.flags)) {
      // It passes from here on, and is no unknown one.
      this.#nodeRules.addPlain(pod.cookie);
      this.disarm(pod);
      return;
    }
    state.isSealed = true;
    this.#putInForce(pod, sealed(state.rules));
  }

  /** Captures nothing new of this pod. What was captured before still waits in its listeners. Idempotent. */
  disarm(pod: PreparedPod): void {
    const state = this.#pods.get(pod);
    if (!state?.isArmed) return;
    state.isArmed = false;
    this.#entries.removeNamespace(pod.cookie);
    this.#entries.removeAddresses(pod.id, state.rules.addresses);
  }

  /**
   * Closes the pod's listeners; nobody may use them any more. Its id may be given to another. Its namespace stays open and
   * connections that were made in it under their clients' addresses go on, until `sources.end`. Idempotent.
   */
  retire(pod: PreparedPod): void {
    const state = this.#pods.get(pod);
    if (state === undefined) return;
    if (state.isSealed) {
      this.#adopted.add(pod.cookie, pod.id, state.rules.addresses);
      if (state.link !== undefined) closeFd(state.link);
    } else if (this.#adopted.idOf(pod.cookie) === undefined) {
      this.disarm(pod);
      // Only now: a connection that was diverted just before it was disarmed needs it to find its listener (IPv6).
      this.#objects.detachNetns(state.link, pod.cookie);
      this.#entries.removeId(pod.id);
    }
    // Else it was never armed, and what a previous process left of it stays in force.
    this.#pods.delete(pod);
    for (const { fd } of pod.listeners) closeFd(fd);
    this.sources.release(pod);
  }

  /** `retire`, and the end of those connections too. Idempotent. */
  release(pod: PreparedPod): void {
    this.retire(pod);
    this.sources.end(pod);
  }

  /** What the end of this process does to new connections, at once: no listener takes them. */
  abandon(): void {
    for (const { listeners } of this.#pods.keys()) for (const { fd } of listeners) closeFd(fd);
  }

  leaveAll(): void {
    for (const pod of [...this.#pods.keys()]) {
      this.leave(pod);
      this.release(pod);
    }
  }

  #stateOf(pod: PreparedPod): PodState {
    const state = this.#pods.get(pod);
    if (state === undefined) throw new Error(`pod ${pod.name} was released`);
    return state;
  }

  #takenIds(): Set<number> {
    return new Set([...[...this.#pods.keys()].map(({ id }) => id), ...this.#adopted.ids]);
  }

  #freeId(): number {
    const taken = this.#takenIds();
    for (let id = 0; id < layout.MAX_PODS; id++) if (!taken.has(id)) return id;
    throw new Error(`enroll a pod: ${layout.MAX_PODS} are enrolled, which is the most one node can have`);
  }
}
