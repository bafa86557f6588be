// Small questions that several programs ask.
#pragma once

#include "maps.h"

#include <bpf/bpf_endian.h>
#include <stdbool.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define V4_MAPPED bpf_htonl(0xffff)

// Clang merges the context loads of two branches into one with a computed offset, which the verifier refuses
// ("dereference of modified ctx ptr"). Values marked with different tags are kept apart;
// by an instruction, as line information without one is refused too ("Invalid line_info").
#define KEEP_APART(tag, value) asm volatile("%0 = %0 # " tag : "+r"(value))

static __always_inline void count(__u32 reason) {
  __u64 *counter = bpf_map_lookup_elem(&reasons, &reason);
  if (counter) *counter += 1; // its own per CPU
}

static __always_inline bool is_ipv4(const struct address *address) {
  return address->words[0] == 0 && address->words[1] == 0 && address->words[2] == V4_MAPPED;
}

// The unspecified address too: connecting to it reaches this host.
static __always_inline bool is_loopback(const struct address *address) {
  if (is_ipv4(address))
    return (address->words[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || !address->words[3];
  return (address->words[0] | address->words[1] | address->words[2]) == 0 && (address->words[3] & ~bpf_htonl(1)) == 0;
}

static __always_inline bool is_unspecified(const struct address *address) {
  return (address->words[0] | address->words[1] | address->words[2] | address->words[3]) == 0;
}

static __always_inline bool is_same(const struct address *a, const struct address *b) {
  return ((a->words[0] ^ b->words[0]) | (a->words[1] ^ b->words[1]) | (a->words[2] ^ b->words[2]) |
          (a->words[3] ^ b->words[3])) == 0;
}

static __always_inline bool is_in(const struct network *network, const struct address *address) {
  __u32 difference = 0;
  for (int i = 0; i < 4; i++)
    difference |= (address->words[i] ^ network->address.words[i]) & network->mask.words[i];
  return difference == 0;
}

static __always_inline bool is_of_interest(const struct address *destination) {
  if (bpf_map_lookup_elem(&destinations, destination)) return true;
  __u32 key = 0;
  const struct networks *networks = bpf_map_lookup_elem(&pod_cidrs, &key);
  if (!networks) return false;
  for (__u32 i = 0; i < MAX_POD_CIDRS; i++) {
    if (i >= networks->count) break;
    if (is_in(&networks->list[i], destination)) return true;
  }
  return false;
}

static __always_inline bool belongs_to(const struct address *address, __u32 pod_id) {
  const struct pod_address *owner = bpf_map_lookup_elem(&pod_by_address, address);
  return owner && owner->pod_id == pod_id;
}

// Longer than any garbage collection; native/reactor/inbox.h has the same for handing connections over.
#define HEARTBEAT_STALE_NS 3000000000ll

// Whether some worker's loop runs. All of them stuck is as good as dead, although the listeners are there.
static __always_inline bool is_proxy_alive(void) {
  __u32 key = 0;
  const struct heartbeats *beats = bpf_map_lookup_elem(&heartbeats, &key);
  if (!beats) return false;
  __u64 now_ns = bpf_ktime_get_ns();
  for (__u32 i = 0; i < MAX_WORKERS; i++) {
    __u64 last_ns = beats->last_ns[i];
    // A beat may be newer than `now_ns`: signed.
    if (last_ns && (__s64)(now_ns - last_ns) < HEARTBEAT_STALE_NS) return true;
  }
  return false;
}

static __always_inline bool is_opted_out(__u32 pod_id, __u32 direction, const struct address *address, __u16 port) {
  const struct opt_outs *rules = bpf_map_lookup_elem(&opt_outs, &pod_id);
  if (!rules) return false;
  for (__u32 i = 0; i < MAX_OPT_OUTS; i++) {
    const struct opt_out *rule = &rules->list[i];
    if (i >= rules->count) break;
    if (rule->direction == direction && port >= rule->port_low && port <= rule->port_high &&
        is_in(&rule->network, address))
      return true;
  }
  return false;
}

static __always_inline bool node_has(__u32 flag) {
  __u32 key = 0;
  const __u32 *flags = bpf_map_lookup_elem(&node_flags, &key);
  return flags && *flags & flag;
}

char LICENSE[] SEC("license") = "Apache-2.0";
