// On the pods' and on the proxy's cgroup: when a connection's source port is chosen and its SYN is not yet sent,
// records the tuple. So whoever accepts the connection, or looks for its listener, always finds the record.
#include "sockops.h"

SEC("sockops")
int culvert_sockops(struct bpf_sock_ops *ctx) {
  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB) return 1;
  struct bpf_sock *socket = ctx->sk;
  if (!socket) return 1;
  struct tuple tuple = {};
  if (bpf_sk_storage_get(&proxy_sockets, socket, 0, 0)) {
    struct bypass value = {.time_ns = bpf_ktime_get_ns()};
    tuple_of(ctx, &tuple);
    if (bpf_map_update_elem(&bypass, &tuple, &value, BPF_ANY)) count(REASON_RECORD_LOST);
    return 1;
  }
  const struct captured_socket *captured = bpf_sk_storage_get(&captured_sockets, socket, 0, 0);
  if (!captured) return 1;
  tuple_of(ctx, &tuple);
  if (!is_same(&tuple.destination, &captured->rewritten) || tuple.destination_port != captured->rewritten_port)
    return 1;
  struct original_destination value = {
      .address = captured->original,
      .port = captured->original_port,
      .family = (__u16)ctx->family,
      .pod_id = captured->pod_id,
      .time_ns = bpf_ktime_get_ns(),
  };
  if (bpf_map_update_elem(&original_destination, &tuple, &value, BPF_ANY)) count(REASON_RECORD_LOST);
  return 1;
}
