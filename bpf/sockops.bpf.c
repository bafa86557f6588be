// On the pods' and on the proxy's cgroup: when a connection's source port is chosen and its SYN is not yet sent,
// records the tuple. So whoever accepts the connection, or looks for its listener, always finds the record.
#include "judge.h"

static __always_inline void tuple_of(struct bpf_sock_ops *ctx, struct tuple *tuple) {
  if (ctx->family == AF_INET) {
    __u32 source = ctx->local_ip4, destination = ctx->remote_ip4;
    KEEP_APART("IPv4", source);
    KEEP_APART("IPv4", destination);
    tuple->source = (struct address){{0, 0, V4_MAPPED, source}};
    tuple->destination = (struct address){{0, 0, V4_MAPPED, destination}};
  } else {
    __u32 s0 = ctx->local_ip6[0], s1 = ctx->local_ip6[1], s2 = ctx->local_ip6[2], s3 = ctx->local_ip6[3];
    __u32 d0 = ctx->remote_ip6[0], d1 = ctx->remote_ip6[1], d2 = ctx->remote_ip6[2], d3 = ctx->remote_ip6[3];
    KEEP_APART("IPv6", s3);
    KEEP_APART("IPv6", d3);
    tuple->source = (struct address){{s0, s1, s2, s3}};
    tuple->destination = (struct address){{d0, d1, d2, d3}};
  }
  tuple->source_port = bpf_htons((__u16)ctx->local_port);
  // The one port that sockops keeps in network order, and in 32 bits.
  tuple->destination_port = bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
}

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
