// On the pods' cgroup: a strict pod gets no MPTCP sockets. The kernel runs no connect hook for them, so that nothing else
// could keep their connections from passing the proxy by; programs that try MPTCP fall back to TCP.
#include "judge.h"

#define IPPROTO_MPTCP 262

SEC("cgroup/sock_create")
int culvert_pod_socket(struct bpf_sock *ctx) {
  if (ctx->protocol != IPPROTO_MPTCP) return 1;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  const struct pod *pod = bpf_map_lookup_elem(&pods, &cookie);
  if (!pod || !(pod->flags & POD_STRICT_OUTBOUND) || bpf_sk_storage_get(&proxy_sockets, ctx, 0, 0)) return 1;
  count(REASON_DENY_NOT_CAPTURABLE);
  return 0;
}
