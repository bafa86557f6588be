// Why connections were captured or passed: numbers and names shared with bpf/reasons.h (a unit test compares them).
// Numbers are never reused. Every judgement of an enrolled pod's connection is counted once, where it is made.

import type { KernelMaps } from "./kernel-objects.ts";
import { encodeU32, sumU64 } from "./layout.ts";

export const reasons = [
  { number: 1, name: "captured_outbound", meaning: "dialled by a pod, turned towards the proxy" },
  { number: 2, name: "captured_inbound", meaning: "arrived at a pod, given to the proxy (repeated SYNs count again)" },
  { number: 3, name: "pass_not_enrolled", meaning: "dialled in a network namespace that is not enrolled" },
  { number: 4, name: "pass_not_stream", meaning: "not TCP (UDP, …)" },
  { number: 5, name: "pass_proxy", meaning: "dialled by the proxy itself" },
  { number: 6, name: "pass_loopback", meaning: "to or from a loopback address" },
  { number: 7, name: "pass_self", meaning: "a pod to its own address" },
  { number: 8, name: "pass_bound_to_device", meaning: "the socket is bound to a network device" },
  { number: 9, name: "pass_no_interest", meaning: "neither a service, a workload nor in a pod CIDR" },
  { number: 10, name: "pass_opted_out", meaning: "opted out by the workload's capture rules" },
  { number: 11, name: "pass_no_source", meaning: "the pod has no address of the destination's family" },
  { number: 12, name: "pass_no_listener", meaning: "fail open: no listener of the proxy in the pod" },
  { number: 13, name: "pass_bind_failed", meaning: "the pod's address is not configured in its namespace" },
  { number: 14, name: "pass_no_memory", meaning: "no kernel memory to remember the destination" },
  { number: 15, name: "pass_mesh_port", meaning: "arrived at a port of the mesh's own" },
  { number: 16, name: "pass_bypass", meaning: "arrived from the proxy itself, or from an exempt cgroup" },
  { number: 17, name: "record_lost", meaning: "the connection's record could not be written; the proxy will reset it" },
  { number: 18, name: "pass_no_heartbeat", meaning: "fail open: no worker of the proxy has said for 3 s that it runs" },
  { number: 19, name: "deny_no_listener", meaning: "fail closed: no listener of the proxy in the pod" },
  { number: 20, name: "deny_no_heartbeat", meaning: "fail closed: no worker has said for 3 s that it runs" },
  {
    number: 21,
    name: "deny_not_capturable",
    meaning: "fail closed: bound to a device, no source address or no kernel memory",
  },
  { number: 22, name: "deny_bind", meaning: "a program of a pod that is not the proxy binds a port of the mesh's own" },
  { number: 23, name: "deny_no_record", meaning: "dialled a port of the mesh's own, without having been captured" },
  { number: 24, name: "refused_no_endpoint", meaning: "dialled a service without an endpoint" },
  { number: 25, name: "pass_unknown", meaning: "dialled in a namespace that nothing is known of yet" },
  { number: 26, name: "deny_unknown", meaning: "the same, on a node that denies it" },
  { number: 27, name: "pass_probe", meaning: "from an address of this node to a declared probe port" },
] as const;

export type Reason = (typeof reasons)[number]["name"];

/** Judgements so far, by reason, all CPUs together. */
export function countReasons({ reasons: counters }: KernelMaps): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { number, name } of reasons) {
    const value = counters.lookup(encodeU32(number));
    counts[name] = value === undefined ? 0 : sumU64(value);
  }
  return counts;
}
