// On each enrolled pod's namespace: runs when an arriving packet needs a listener, that is once per connection (and for
// repeated SYNs and strays), and gives it the proxy's inbound listener. The accepted socket's own address then is the
// original destination. What is not given away finds the listener it would have found without Culvert, except that a
// strict pod's connections, and those to the mesh's own ports, are dropped here: the client gets a reset.
#include "judge.h"

#define IPPROTO_TCP 6
// The last repeated SYN leaves 63 s after the first (tcp_syn_retries = 6).
#define BYPASS_LIFETIME_NS (120 * 1000000000ull)

static __always_inline bool is_bypassed(const struct tuple *tuple) {
  struct bypass *entry = bpf_map_lookup_elem(&bypass, tuple);
  if (!entry || bpf_ktime_get_ns() - entry->time_ns >= BYPASS_LIFETIME_NS) return false;
  entry->is_seen = 1;
  return true;
}

static __always_inline bool assign_listener(struct bpf_sk_lookup *ctx, __u32 slot) {
  struct bpf_sock *listener = bpf_map_lookup_elem(&listeners, &slot);
  if (!listener) return false;
  long error = bpf_sk_assign(ctx, listener, 0);
  bpf_sk_release(listener);
  return !error;
}

// The second rule for probes: where the first (probe_exemption.bpf.c) cannot be, since the kubelet's cgroup is not
// known, not there, or not attached to. A proxy that is dead cannot attach to one that was created again.
static __always_inline bool is_probe(__u32 pod_id, const struct address *source, __u16 port, bool is_proxy_alive) {
  struct probe_port key = {.pod_id = pod_id, .port = port};
  return (!is_proxy_alive || node_has(NODE_PASSES_PROBES)) && bpf_map_lookup_elem(&probe_ports, &key) &&
         bpf_map_lookup_elem(&node_addresses, source);
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

  // Source port 0: the connect hook itself asks whether the proxy listens.
  if (port == MESH_PORT_OUTBOUND && !tuple.source_port) return SK_PASS;
  // The outbound listener is for what the connect hook sent there, and nobody dials the inbound one: it is assigned.
  if (port == MESH_PORT_INBOUND ||
      (port == MESH_PORT_OUTBOUND && !bpf_map_lookup_elem(&original_destination, &tuple))) {
    count(REASON_DENY_NO_RECORD);
    return SK_DROP;
  }
  if (family == AF_INET6 && port - MESH_PORT_SPREAD < MESH_PORT_SPREAD_COUNT) {
    const struct original_destination *record = bpf_map_lookup_elem(&original_destination, &tuple);
    // Counted by the connect hook. Never to whoever listens on that port himself: the listener closed just now.
    if (record) return assign_listener(ctx, record->pod_id * LISTENERS_PER_POD + LISTENER_OUTBOUND) ? SK_PASS : SK_DROP;
  }
  // Loopback ends here, uncounted, and so does the pod's talk to itself: the connect hook has counted both.
  const struct pod_address *owner = bpf_map_lookup_elem(&pod_by_address, &tuple.destination);
  if (!owner) return SK_PASS;
  __u32 pod_id = owner->pod_id, flags = owner->flags;
  if (belongs_to(&tuple.source, pod_id)) return SK_PASS;

  if (port == MESH_PORT_TUNNEL) {
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
  bool is_strict = flags & POD_STRICT_INBOUND, is_alive = is_proxy_alive();
  if (is_probe(pod_id, &tuple.source, (__u16)port, is_alive)) {
    count(REASON_PASS_PROBE);
    return SK_PASS;
  }
  if (!is_alive) {
    count(is_strict ? REASON_DENY_NO_HEARTBEAT : REASON_PASS_NO_HEARTBEAT);
    return is_strict ? SK_DROP : SK_PASS;
  }
  if (!(flags & POD_SEALED) &&
      assign_listener(ctx, pod_id * LISTENERS_PER_POD + (family == AF_INET6 ? LISTENER_INBOUND6 : LISTENER_INBOUND4))) {
    count(REASON_CAPTURED_INBOUND);
    return SK_PASS;
  }
  count(is_strict ? REASON_DENY_NO_LISTENER : REASON_PASS_NO_LISTENER);
  return is_strict ? SK_DROP : SK_PASS;
}
