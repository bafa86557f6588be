// Routing in pods' namespaces, and nowhere else, by which connections that the proxy makes to an application under its
// client's address come back to the proxy (native/netns/source_routing.h). It must be there from before a pod is captured
// until the last such connection of it has ended, which may be after the same namespace was enrolled again.

import { type Fd, type NativeError, type NetnsCookie, native } from "../runtime/native.ts";
import { closeFd } from "./bpf-map.ts";
import { forNamespaces } from "./namespaces.ts";
import type { OpenNetns } from "./netns-cookies.ts";
import type { PreparedPod } from "./pod.ts";

export class SourceRoutes implements Disposable {
  /** How many pods hold each. */
  readonly #holders: Map<NetnsCookie, number>;
  /** Released, but for the routing by which their open connections live. */
  readonly #released: Set<PreparedPod>;

  constructor() {
    this.#holders = new Map();
    this.#released = new Set();
  }

  /** Answers why the kernel or the namespace does not let us, with nothing changed; undefined: it does. */
  hold(cookie: NetnsCookie, { netns, hasIpv6 }: OpenNetns): string | undefined {
    const holders = this.#holders.get(cookie) ?? 0;
    try {
      if (holders === 0) native.netns("route", { netns, hasIpv6 });
    } catch (error) {
      return (error as NativeError).message;
    }
    this.#holders.set(cookie, holders + 1);
    return undefined;
  }

  /** From now on `end` is all that is left to do of the pod: its namespace's descriptor is closed by that. */
  release(pod: PreparedPod): void {
    this.#released.add(pod);
  }

  /** Of a released pod whose connections are closed: the kernel still sends what an application has not read yet. */
  isInUse(pod: PreparedPod): boolean {
    const isHeld = this.#released.has(pod) && pod.sourceProblem === undefined;
    // With other holders it would stay.
    return isHeld && this.#holders.get(pod.cookie) === 1 && native.netns("routed", { netns: pod.netns }).sockets > 0;
  }

  /** Of a released pod, when none of those connections is open any more. Idempotent. */
  end(pod: PreparedPod): void {
    if (!this.#released.delete(pod)) return;
    try {
      if (pod.sourceProblem === undefined) this.letGo(pod.cookie, pod.netns);
    } finally {
      closeFd(pod.netns);
    }
  }

  /** To be called once for each `hold` that succeeded; the last call takes the routing away. */
  letGo(cookie: NetnsCookie, netns: Fd): void {
    const holders = this.#holders.get(cookie) ?? 0;
    if (holders > 1) {
      this.#holders.set(cookie, holders - 1);
      return;
    }
    this.#holders.delete(cookie);
    native.netns("unroute", { netns });
  }

  /** Ends those of all released pods, each whatever becomes of the others. */
  [Symbol.dispose](): void {
    using all = new DisposableStack();
    for (const pod of this.#released) all.defer(() => this.end(pod));
  }
}

/** Takes away what processes that are gone left in the namespaces of these inode numbers, if they are still there. */
export function removeSourceRoutes(inodes: ReadonlySet<bigint>): void {
  forNamespaces(inodes, (netns) => native.netns("unroute", { netns }));
}
