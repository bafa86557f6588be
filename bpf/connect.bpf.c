// On the pods' cgroup: judges every connect() of an enrolled pod, and turns those that the mesh has an interest in
// towards the proxy's listener in the same namespace. Where that cannot be, a strict pod's connect fails with EPERM and
// any other's passes. connect6 also serves v4-mapped destinations, which connect4 never sees.
#include "unknown.h"

#define IPPROTO_TCP 6
#define ECONNREFUSED 111

// Whether the listener that `rewritten` would reach is the proxy's: not that of a program which took the port while the
// proxy was away.
static __always_inline bool proxy_listens(struct bpf_sock_addr *ctx, const struct address *source,
                                          const struct address *rewritten) {
  struct bpf_sock_tuple tuple = {};
  struct bpf_sock *listener;
  if (is_ipv4(rewritten)) {
    tuple.ipv4.saddr = source->words[3];
    tuple.ipv4.daddr = rewritten->words[3];
    tuple.ipv4.dport = bpf_htons(MESH_PORT_OUTBOUND);
    listener = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
  } else {
    __builtin_memcpy(tuple.ipv6.saddr, source, sizeof(*source));
    __builtin_memcpy(tuple.ipv6.daddr, rewritten, sizeof(*rewritten));
    tuple.ipv6.dport = bpf_htons(MESH_PORT_OUTBOUND);
    listener = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
  }
  if (!listener) return false;
  bool is_proxys = listener->state == BPF_TCP_LISTEN && bpf_sk_storage_get(&proxy_sockets, listener, 0, 0);
  bpf_sk_release(listener);
  return is_proxys;
}

// Each remote has 28,000 source ports, and those of connections that the client closed first stay in TIME_WAIT for 60
// s. IPv4: towards a loopback address they are free again after 1 s (tcp_tw_reuse = 2, the default since 4.19), and
// 127.77/16 spreads the rest. IPv6 has one loopback address, and what a TIME_WAIT socket answers to it is routed by the
// interface of the pod's address, leaves the pod and is lost (rt6_need_strict). So there: the pod's own address and one
// of 256 ports, from which sk_lookup leads to the listener. Returns the port.
static __always_inline __be16 choose_rewritten(const struct address *destination, __be16 port,
                                               const struct address *source, struct address *rewritten) {
  if (!is_ipv4(destination)) {
    *rewritten = *source;
    return bpf_htons(MESH_PORT_SPREAD + bpf_get_prandom_u32() % MESH_PORT_SPREAD_COUNT);
  }
  __u32 hash = (bpf_ntohl(destination->words[3]) ^ ((__u32)port << 8)) * 0x9e3779b1;
  rewritten->words[2] = V4_MAPPED;
  rewritten->words[3] = bpf_htonl(0x7f4d0000 | hash >> 16);
  return bpf_htons(MESH_PORT_OUTBOUND);
}

static __always_inline long bind_source(struct bpf_sock_addr *ctx, const struct address *source) {
  if (ctx->user_family == AF_INET) {
    struct sockaddr_in {
      __u16 family;
      __be16 port;
      __be32 address;
      __u64 zero;
    } address = {.family = AF_INET, .address = source->words[3]};
    return bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address));
  }
  struct sockaddr_in6 {
    __u16 family;
    __be16 port;
    __be32 flow;
    struct address address;
    __u32 scope;
  } address = {.family = AF_INET6, .address = *source};
  return bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address));
}

static __always_inline bool has_no_endpoint(const struct address *destination, __be16 port) {
  struct refused key = {.address = *destination, .port = port};
  return bpf_map_lookup_elem(&refused, &key);
}

// An IPv6 link-local address means nothing without the interface, which is not kept.
static __always_inline bool is_dialable(const struct address *destination) {
  return (destination->words[0] & bpf_htonl(0xffc00000)) != bpf_htonl(0xfe800000);
}

// Returns the reason; when it is CAPTURED_OUTBOUND, the caller writes `rewritten` and `rewritten_port` to the context.
// `bound` is the application's own choice of source address, unspecified if it made none.
static __always_inline __u32 judge(struct bpf_sock_addr *ctx, const struct address *destination, __be16 port,
                                   const struct address *bound, struct address *rewritten, __be16 *rewritten_port) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  const struct pod *pod = bpf_map_lookup_elem(&pods, &cookie);
  if (!pod) return judge_unknown(ctx, cookie, destination);
  struct bpf_sock *socket = ctx->sk;
  if (ctx->type != SOCK_STREAM || !socket) return REASON_PASS_NOT_STREAM;
  if (bpf_sk_storage_get(&proxy_sockets, socket, 0, 0)) return REASON_PASS_PROXY;
  if (is_loopback(destination) || (!is_unspecified(bound) && is_loopback(bound))) return REASON_PASS_LOOPBACK;
  if (belongs_to(destination, pod->pod_id)) return REASON_PASS_SELF;
  if (!is_of_interest(destination) && !((pod->flags & POD_OBSERVES_EGRESS) && is_dialable(destination)))
    return REASON_PASS_NO_INTEREST;
  if (is_opted_out(pod->pod_id, OPT_OUT_OUTBOUND, destination, bpf_ntohs(port))) return REASON_PASS_OPTED_OUT;

  // From here on the mesh wants the connection: whatever stands in the way passes it only where the pod is not strict.
  bool is_strict = pod->flags & POD_STRICT_OUTBOUND;
  if (ctx->protocol != IPPROTO_TCP) return is_strict ? REASON_DENY_NOT_CAPTURABLE : REASON_PASS_NOT_STREAM;
  if (socket->bound_dev_if) return is_strict ? REASON_DENY_NOT_CAPTURABLE : REASON_PASS_BOUND_TO_DEVICE;
  struct address source = is_unspecified(bound) ? is_ipv4(destination) ? pod->ip4 : pod->ip6 : *bound;
  if (is_unspecified(&source)) return is_strict ? REASON_DENY_NOT_CAPTURABLE : REASON_PASS_NO_SOURCE;
  bool is_port_bound = is_unspecified(bound) && socket->src_port;
  // A socket that is bound to a port only cannot be bound again. Towards the pod's own address the kernel chooses that
  // same address as the source.
  *rewritten_port = bpf_htons(MESH_PORT_OUTBOUND);
  if (is_port_bound)
    *rewritten = source;
  else
    *rewritten_port = choose_rewritten(destination, port, &source, rewritten);
  if (!is_proxy_alive()) return is_strict ? REASON_DENY_NO_HEARTBEAT : REASON_PASS_NO_HEARTBEAT;
  if ((pod->flags & POD_SEALED) || !proxy_listens(ctx, &source, rewritten))
    return is_strict ? REASON_DENY_NO_LISTENER : REASON_PASS_NO_LISTENER;
  if (has_no_endpoint(destination, port)) return REASON_REFUSED_NO_ENDPOINT;

  struct captured_socket *captured = bpf_sk_storage_get(&captured_sockets, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!captured) return is_strict ? REASON_DENY_NOT_CAPTURABLE : REASON_PASS_NO_MEMORY;
  captured->original = *destination;
  captured->original_port = port;
  captured->rewritten = *rewritten;
  captured->rewritten_port = *rewritten_port;
  captured->pod_id = pod->pod_id;
  // Port 0: chosen in connect(), where a port in TIME_WAIT towards another remote counts as free.
  if (is_unspecified(bound) && !is_port_bound && bind_source(ctx, &source)) {
    bpf_sk_storage_delete(&captured_sockets, socket);
    return is_strict ? REASON_DENY_NOT_CAPTURABLE : REASON_PASS_BIND_FAILED;
  }
  return REASON_CAPTURED_OUTBOUND;
}

// What a hook returns for every reason but CAPTURED_OUTBOUND. 0 fails the connect: with EPERM, unless told otherwise.
static __always_inline int answer(__u32 reason) {
  if (reason == REASON_DENY_NO_LISTENER || reason == REASON_DENY_NO_HEARTBEAT || reason == REASON_DENY_NOT_CAPTURABLE ||
      reason == REASON_DENY_UNKNOWN)
    return 0;
  if (reason != REASON_REFUSED_NO_ENDPOINT) return 1;
  // The loader takes this call out where the kernel does not have it (before 6.1).
  bpf_set_retval(-ECONNREFUSED);
  return 0;
}

SEC("cgroup/connect4")
int culvert_connect4(struct bpf_sock_addr *ctx) {
  struct address destination = {{0, 0, V4_MAPPED, ctx->user_ip4}};
  struct address bound = {};
  struct address rewritten = {};
  __be16 rewritten_port = 0;
  struct bpf_sock *socket = ctx->sk;
  if (socket && socket->src_ip4) {
    bound.words[2] = V4_MAPPED;
    bound.words[3] = socket->src_ip4;
  }
  __u32 reason = judge(ctx, &destination, (__be16)ctx->user_port, &bound, &rewritten, &rewritten_port);
  count(reason);
  if (reason == REASON_CAPTURED_OUTBOUND) {
    ctx->user_ip4 = rewritten.words[3];
    ctx->user_port = rewritten_port;
    return 1;
  }
  return answer(reason);
}

SEC("cgroup/connect6")
int culvert_connect6(struct bpf_sock_addr *ctx) {
  struct address destination = {{ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  struct address bound = {};
  struct address rewritten = {};
  __be16 rewritten_port = 0;
  struct bpf_sock *socket = ctx->sk;
  if (socket) {
    bound.words[0] = socket->src_ip6[0];
    bound.words[1] = socket->src_ip6[1];
    bound.words[2] = socket->src_ip6[2];
    bound.words[3] = socket->src_ip6[3];
  }
  __u32 reason = judge(ctx, &destination, (__be16)ctx->user_port, &bound, &rewritten, &rewritten_port);
  count(reason);
  if (reason == REASON_CAPTURED_OUTBOUND) {
    ctx->user_ip6[0] = rewritten.words[0];
    ctx->user_ip6[1] = rewritten.words[1];
    ctx->user_ip6[2] = rewritten.words[2];
    ctx->user_ip6[3] = rewritten.words[3];
    ctx->user_port = rewritten_port;
    return 1;
  }
  return answer(reason);
}
