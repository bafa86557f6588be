// On the cgroup of whoever probes the pods of this node (the kubelet): its connections to enrolled pods reach the
// application and not the proxy, as a probe asks about the application. By their exact tuples, so that every other
// process of the node is captured like anyone. Written before the SYN leaves: sk_lookup always finds the record.
#include "sockops.h"

SEC("sockops")
int culvert_probe_exemption(struct bpf_sock_ops *ctx) {
  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB) return 1;
  struct tuple tuple = {};
  tuple_of(ctx, &tuple);
  if (!bpf_map_lookup_elem(&pod_by_address, &tuple.destination)) return 1;
  struct bypass value = {.time_ns = bpf_ktime_get_ns()};
  if (bpf_map_update_elem(&bypass, &tuple, &value, BPF_ANY)) count(REASON_RECORD_LOST);
  return 1;
}
