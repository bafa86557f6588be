// On each enrolled pod's namespace: runs when an arriving packet needs a listener, that is once per connection (and for
// repeated SYNs and strays), and gives it the proxy's inbound listener. The accepted socket's own address then is the
// original destination. Whatever is not given away finds the listener it would have found without Culvert.
#include "judge.h"

#define IPPROTO_TCP 6
// The last repeated SYN leaves 63 s after the first (tcp_syn_retries = 6).
#define BYPASS_LIFETIME_NS (120 * 1000000000ull)

static __always_inline bool is_bypassed(const struct tuple *tuple) {
  const struct bypass *entry = bpf_map_lookup_elem(&bypass, tuple);
  return entry && bpf_ktime_get_ns() - entry->time_ns < BYPASS_LIFETIME_NS;
}

SEC("sk_lookup")
int culvert_sk_lookup(struct bpf_sk_lookup *ctx) {
  if (ctx->protocol != IPPROTO_TCP) return SK_PASS;
  struct tuple tuple = {};
  __u32 family = ctx->family;
  if (family == AF_INET) {
    __u32 source = ctx->remote_ip4, destination = ctx->local_ip4;
    KEEP_APART("IPv4", source);
    KEEP_APART("IPv4", destination);
    tuple.source = (struct address){{0, 0, V4_MAPPED, source}};
    tuple.destination = (struct address){{0, 0, V4_MAPPED, destination}};
  } else {
    __u32 s0 = ctx->remote_ip6[0], s1 = ctx->remote_ip6[1], s2 = ctx->remote_ip6[2], s3 = ctx->remote_ip6[3];
    __u32 d0 = ctx->local_ip6[0], d1 = ctx->local_ip6[1], d2 = ctx->local_ip6[2], d3 = ctx->local_ip6[3];
    KEEP_APART("IPv6", s3);
    KEEP_APART("IPv6", d3);
    tuple.source = (struct address){{s0, s1, s2, s3}};
    tuple.destination = (struct address){{d0, d1, d2, d3}};
  }
  __u32 port = ctx->local_port;
  tuple.source_port = ctx->remote_port;
  tuple.destination_port = bpf_htons((__u16)port);

  // Loopback ends here, uncounted, and so does the pod's talk to itself: the connect hook has counted both.
  const __u32 *owner = bpf_map_lookup_elem(&pod_by_address, &tuple.destination);
  if (!owner) return SK_PASS;
  __u32 pod_id = *owner;
  if (belongs_to(&tuple.source, pod_id)) return SK_PASS;

  if (port == MESH_PORT_OUTBOUND || port == MESH_PORT_INBOUND || port == MESH_PORT_TUNNEL) {
    count(REASON_PASS_MESH_PORT);
    return SK_PASS;
  }
  if (is_bypassed(&tuple)) {
    count(REASON_PASS_BYPASS);
    return SK_PASS;
  }
  if (is_opted_out(pod_id, OPT_OUT_INBOUND, &tuple.source, (__u16)port)) {
    count(REASON_PASS_OPTED_OUT);
    return SK_PASS;
  }
  __u32 slot = pod_id * 2 + (family == AF_INET6);
  struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &slot);
  if (!listener) {
    count(REASON_PASS_NO_LISTENER);
    return SK_PASS;
  }
  long refused = bpf_sk_assign(ctx, listener, 0);
  bpf_sk_release(listener);
  count(refused ? REASON_PASS_NO_LISTENER : REASON_CAPTURED_INBOUND);
  return SK_PASS;
}
