// What becomes of a connect() in a namespace that is not enrolled: it passes, unless the node denies those namespaces
// of which nothing is known yet. For these the first moment is kept, so that what got past the mesh can be measured.
#pragma once

#include "judge.h"

static __always_inline __u32 judge_unknown(struct bpf_sock_addr *ctx, __u64 cookie, const struct address *destination) {
  if (!node_has(NODE_NOTES_UNKNOWN) || bpf_map_lookup_elem(&plain, &cookie)) return REASON_PASS_NOT_ENROLLED;
  struct bpf_sock *socket = ctx->sk;
  if (ctx->type != SOCK_STREAM || !socket || is_loopback(destination) || !is_of_interest(destination) ||
      bpf_sk_storage_get(&proxy_sockets, socket, 0, 0))
    return REASON_PASS_NOT_ENROLLED;
  if (!bpf_map_lookup_elem(&unknown, &cookie)) {
    __u64 now_ns = bpf_ktime_get_ns();
    bpf_map_update_elem(&unknown, &cookie, &now_ns, BPF_NOEXIST);
  }
  return node_has(NODE_DENIES_UNKNOWN) ? REASON_DENY_UNKNOWN : REASON_PASS_UNKNOWN;
}
