// A worker says that its loop runs. Capture reads it in the kernel: connections are diverted while at least one worker has
// said so within 3 s (bpf/judge.h), and a worker that has not is given none by the others (native/reactor/inbox.h).

import { native } from "../runtime/native.ts";

/** A sixth of what counts as stuck: a loop that is late by five of them still runs. */
const intervalMs = 500;

/** For the thread whose loop it is. Ends with the loop, which it does not keep alive. */
export function startHeartbeat(worker: number): { stop(): void } {
  const beat = () => native.beat(worker);
  beat();
  const timer = setInterval(beat, intervalMs).unref();
  return { stop: () => clearInterval(timer) };
}
