// A connect-time load balancer, as some CNIs have one: programs that turn a service's address into a backend's in the
// connect() itself. The addresses are given by the compiler's -D, as 32-bit words in network order.
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup/connect4")
int balance4(struct bpf_sock_addr *ctx) {
  if (ctx->user_ip4 == SERVICE4) ctx->user_ip4 = BACKEND4;
  return 1;
}

SEC("cgroup/connect6")
int balance6(struct bpf_sock_addr *ctx) {
  const __u32 service[4] = {SERVICE6}, backend[4] = {BACKEND6};
  if (ctx->user_ip6[0] != service[0] || ctx->user_ip6[1] != service[1] || ctx->user_ip6[2] != service[2] ||
      ctx->user_ip6[3] != service[3])
    return 1;
  ctx->user_ip6[0] = backend[0];
  ctx->user_ip6[1] = backend[1];
  ctx->user_ip6[2] = backend[2];
  ctx->user_ip6[3] = backend[3];
  return 1;
}

char LICENSE[] SEC("license") = "Apache-2.0";
