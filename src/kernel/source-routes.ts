// Routing in pods' namespaces, and nowhere else, by which connections that the proxy makes to an application under its
// client's address come back to the proxy (native/netns/source_routing.h). It must be there from before a pod is captured
// until the last such connection of it has ended, which may be after the same namespace was enrolled again.

import { type Fd, type NetnsCookie, native } from "../runtime/native.ts";
import { forNamespaces } from "./namespaces.ts";

export class SourceRoutes {
  /** How often each is held. */
  readonly #holders: Map<NetnsCookie, number>;

  constructor() {
    this.#holders = new Map();
  }

  /** Throws a NativeError, with nothing changed, where the kernel or the namespace does not let us. */
  hold(cookie: NetnsCookie, netns: Fd, hasIpv6: boolean): void {
    const holders = this.#holders.get(cookie) ?? 0;
    if (holders === 0) native.netns("route", { netns, hasIpv6 });
    this.#holders.set(cookie, holders + 1);
  }

  /** Whether the last `letGo` would cut off what the kernel still sends for closed connections. */
  isInUse(cookie: NetnsCookie, netns: Fd): boolean {
    return this.#holders.get(cookie) === 1 && native.netns("routed", { netns }).sockets > 0;
  }

  /** To be called once for each `hold`; the last call takes the routing away. */
  letGo(cookie: NetnsCookie, netns: Fd): void {
    const holders = this.#holders.get(cookie) ?? 0;
    if (holders > 1) {
      this.#holders.set(cookie, holders - 1);
      return;
    }
    this.#holders.delete(cookie);
    native.netns("unroute", { netns });
  }
}

/** Takes away what processes that are gone left in the namespaces of these inode numbers, if they are still there. */
export function removeSourceRoutes(inodes: ReadonlySet<bigint>): void {
  forNamespaces(inodes, (netns) => native.netns("unroute", { netns }));
}
