// On the pods' cgroup: nobody but the proxy binds the mesh's ports in an enrolled pod, whether the proxy is there or
// not. bind6 also serves the unspecified address and v4-mapped ones.
#include "judge.h"

#define SOCK_STREAM 1

static __always_inline int judge_bind(struct bpf_sock_addr *ctx) {
  __u16 port = bpf_ntohs((__be16)ctx->user_port);
  if (port != MESH_PORT_OUTBOUND && port != MESH_PORT_INBOUND && port != MESH_PORT_TUNNEL) return 1;
  if (ctx->type != SOCK_STREAM) return 1;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  if (!bpf_map_lookup_elem(&pods, &cookie)) return 1;
  struct bpf_sock *socket = ctx->sk;
  if (socket && bpf_sk_storage_get(&proxy_sockets, socket, 0, 0)) return 1;
  count(REASON_DENY_BIND);
  return 0;
}

SEC("cgroup/bind4")
int culvert_bind4(struct bpf_sock_addr *ctx) {
  return judge_bind(ctx);
}

SEC("cgroup/bind6")
int culvert_bind6(struct bpf_sock_addr *ctx) {
  return judge_bind(ctx);
}
