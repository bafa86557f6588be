// Network namespaces and the cookies by which the hooks tell them apart. Where the kernel does not tell a cookie (before
// 5.14), the program on the proxy's cgroup has seen it when a socket of this process was made there.

import { type Fd, type NetnsCookie, native } from "../runtime/native.ts";
import { type BpfMap, closeFd } from "./bpf-map.ts";
import { decodeCookie, encodeU32 } from "./layout.ts";

export interface OpenNetns {
  readonly netns: Fd;
  readonly inode: bigint;
  readonly hasIpv6: boolean;
  /** undefined: it cannot be read. */
  readonly cookie: NetnsCookie | undefined;
}

export class NetnsCookies {
  readonly #proxySockets: BpfMap;

  constructor(proxySockets: BpfMap) {
    this.#proxySockets = proxySockets;
  }

  /** The caller closes it. */
  open(path: string): OpenNetns {
    const opened = native.netns("open", { path });
    try {
      return { ...opened, cookie: opened.cookie ?? this.#seenIn(opened.netns) };
    } catch (error) {
      closeFd(opened.netns);
      throw error;
    }
  }

  /** The cookie of the namespace at a path; throws when there is none. */
  at(path: string): NetnsCookie {
    const { netns, cookie } = this.open(path);
    closeFd(netns);
    if (cookie === undefined) throw new Error(`open network namespace ${path}: its cookie cannot be read`);
    return cookie;
  }

  /** The cookie of this process's namespace; undefined when the program is not on this process's cgroup. */
  ownAsSeen(): NetnsCookie | undefined {
    const { netns } = native.netns("open", { path: "/proc/self/ns/net" });
    try {
      return this.#seenIn(netns);
    } finally {
      closeFd(netns);
    }
  }

  #seenIn(netns: Fd): NetnsCookie | undefined {
    const { fd } = native.netns("socket", { netns, family: 4 });
    try {
      const value = this.#proxySockets.lookup(encodeU32(fd));
      return value && decodeCookie(value);
    } finally {
      closeFd(fd);
    }
  }
}
