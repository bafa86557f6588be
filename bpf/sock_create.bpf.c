// On the proxy's cgroup: flags every socket that is created there, in whatever namespace, for its whole life.
#include "judge.h"

SEC("cgroup/sock_create")
int culvert_sock_create(struct bpf_sock *ctx) {
  struct proxy_socket *socket = bpf_sk_storage_get(&proxy_sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
  // Kept for kernels without SO_NETNS_COOKIE (before 5.14): user space reads it by the socket's descriptor.
  if (socket) socket->netns_cookie = bpf_get_netns_cookie(ctx);
  return 1;
}
