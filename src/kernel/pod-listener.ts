// Opens the proxy's listeners in pods. A port that somebody else has, as another mesh's sidecar would, is told with whose it is.

import { type Fd, type NativeError, native } from "../runtime/native.ts";
import { listenersOn } from "./listening-process.ts";

/** Clamped by net.core.somaxconn, 4096 by default. */
const backlog = 4096;

export interface ListenRequest {
  readonly netns: Fd;
  /** The namespace's inode number. */
  readonly inode: bigint;
  readonly address: string;
  readonly port: number;
}

export function listenInPod({ netns, inode, address, port }: ListenRequest): Fd {
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
