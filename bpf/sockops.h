// What the sockops programs share.
#pragma once

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
