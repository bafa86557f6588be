// On the pods' cgroup: an application asks whom it is connected to and hears what it dialled, not the proxy's address.
#include "judge.h"

static __always_inline const struct captured_socket *captured_of(struct bpf_sock_addr *ctx) {
  struct bpf_sock *socket = ctx->sk;
  return socket ? bpf_sk_storage_get(&captured_sockets, socket, 0, 0) : NULL;
}

SEC("cgroup/getpeername4")
int culvert_getpeername4(struct bpf_sock_addr *ctx) {
  const struct captured_socket *captured = captured_of(ctx);
  if (!captured || ctx->user_ip4 != captured->rewritten.words[3] || ctx->user_port != captured->rewritten_port)
    return 1;
  ctx->user_ip4 = captured->original.words[3];
  ctx->user_port = captured->original_port;
  return 1;
}

SEC("cgroup/getpeername6")
int culvert_getpeername6(struct bpf_sock_addr *ctx) {
  const struct captured_socket *captured = captured_of(ctx);
  if (!captured || ctx->user_port != captured->rewritten_port) return 1;
  struct address peer = {{ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  if (!is_same(&peer, &captured->rewritten)) return 1;
  ctx->user_ip6[0] = captured->original.words[0];
  ctx->user_ip6[1] = captured->original.words[1];
  ctx->user_ip6[2] = captured->original.words[2];
  ctx->user_ip6[3] = captured->original.words[3];
  ctx->user_port = captured->original_port;
  return 1;
}
