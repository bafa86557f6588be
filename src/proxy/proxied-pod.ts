// A captured pod, as a worker knows it.

import type { Fd } from "../runtime/native.ts";

export interface ProxiedPod {
  /** The pod_id of BPF maps. */
  readonly id: number;
  /** `namespace/name` of its workload. */
  readonly name: string;
  /** Where sockets on its behalf are made. */
  readonly netns: Fd;
  /** Whether connections can be made there under clients' addresses. */
  readonly keepsSources: boolean;
  /** Set by the worker: no new socket may be made in `netns`. */
  isWithdrawn?: boolean;
}
