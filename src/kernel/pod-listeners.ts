// Opens the proxy's listeners in pods. A port that somebody else has, as another mesh's sidecar would, is told with whose it is.

import { type Fd, type NativeError, native } from "../runtime/native.ts";
import { closeFd } from "./bpf-map.ts";
import { layout } from "./layout.ts";
import { listenersOn } from "./listening-process.ts";
import type { OpenNetns } from "./netns-cookies.ts";

/** Clamped by net.core.somaxconn, 4096 by default. */
const backlog = 4096;

export interface PodListener {
  readonly direction: "outbound" | "inbound";
  /** LISTENER_* of bpf/structs.h. */
  readonly slot: number;
  readonly fd: Fd;
}

/** All or none. The caller closes them. */
export function listenInPod(netns: OpenNetns): PodListener[] {
  const listeners: PodListener[] = [];
  const listen = (direction: PodListener["direction"], slot: number, address: string, port: number) =>
    listeners.push({ direction, slot, fd: listenOn(netns, address, port) });
  try {
    listen("outbound", layout.LISTENER_OUTBOUND, netns.hasIpv6 ? "::" : "0.0.0.0", layout.MESH_PORT_OUTBOUND);
    // Bound to loopback: only sk_lookup leads there, never a packet from outside.
    listen("inbound", layout.LISTENER_INBOUND4, "127.0.0.1", layout.MESH_PORT_INBOUND);
    if (netns.hasIpv6) listen("inbound", layout.LISTENER_INBOUND6, "::1", layout.MESH_PORT_INBOUND);
    return listeners;
  } catch (error) {
    for (const { fd } of listeners) closeFd(fd);
    throw error;
  }
}

function listenOn({ netns, inode }: OpenNetns, address: string, port: number): Fd {
  try {
    return native.netns("listen", { netns, address, port, backlog }).fd;
  } catch (cause) {
    if ((cause as NativeError).errno !== "EADDRINUSE") throw cause;
    const holders = listenersOn(inode, port);
    if (holders.length === 0) throw cause;
    throw new Error(
      `listen on ${address} port ${port}: address already in use by ${holders.join(" and ")}; Culvert needs the port in every pod: stop that, or leave this pod out`,
      { cause },
    );
  }
}
