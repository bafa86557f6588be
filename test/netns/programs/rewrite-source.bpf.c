// A network that rewrites sources, as some CNIs do: what CLIENT sends to SERVER over TCP arrives from ALIAS, and what
// SERVER sends to ALIAS arrives at CLIENT. At the ingress of the node's ends of the two pods' links. Stateless: ALIAS
// is nobody else's. The addresses are given by the compiler's -D, as 32-bit words in network order
// (harness/rewrite-sources.ts).
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IPV4_SOURCE (ETH_HLEN + 12)
#define IPV4_DESTINATION (ETH_HLEN + 16)
#define IPV4_PROTOCOL (ETH_HLEN + 9)
#define IPV4_CHECKSUM (ETH_HLEN + 10)
#define IPV4_TCP_CHECKSUM (ETH_HLEN + 20 + 16) // nobody sends options
#define IPV6_SOURCE (ETH_HLEN + 8)
#define IPV6_DESTINATION (ETH_HLEN + 24)
#define IPV6_PROTOCOL (ETH_HLEN + 6)
#define IPV6_TCP_CHECKSUM (ETH_HLEN + 40 + 16)

struct address6 {
  __u32 words[4];
};

static __always_inline int is_tcp(struct __sk_buff *skb, int at) {
  __u8 protocol = 0;
  return bpf_skb_load_bytes(skb, at, &protocol, 1) == 0 && protocol == IPPROTO_TCP;
}

static __always_inline void rewrite4(struct __sk_buff *skb, int at, __u32 from, __u32 to, int other_at, __u32 other) {
  __u32 found = 0, found_other = 0;
  if (!is_tcp(skb, IPV4_PROTOCOL) || bpf_skb_load_bytes(skb, at, &found, 4) ||
      bpf_skb_load_bytes(skb, other_at, &found_other, 4) || found != from || found_other != other)
    return;
  bpf_l4_csum_replace(skb, IPV4_TCP_CHECKSUM, from, to, BPF_F_PSEUDO_HDR | 4);
  bpf_l3_csum_replace(skb, IPV4_CHECKSUM, from, to, 4);
  bpf_skb_store_bytes(skb, at, &to, 4, 0);
}

static __always_inline int is_same(const struct address6 *a, const struct address6 *b) {
  return ((a->words[0] ^ b->words[0]) | (a->words[1] ^ b->words[1]) | (a->words[2] ^ b->words[2]) |
          (a->words[3] ^ b->words[3])) == 0;
}

static __always_inline void rewrite6(struct __sk_buff *skb, int at, struct address6 from, struct address6 to,
                                     int other_at, struct address6 other) {
  struct address6 found = {}, found_other = {};
  if (!is_tcp(skb, IPV6_PROTOCOL) || bpf_skb_load_bytes(skb, at, &found, 16) ||
      bpf_skb_load_bytes(skb, other_at, &found_other, 16) || !is_same(&found, &from) || !is_same(&found_other, &other))
    return;
  __s64 difference = bpf_csum_diff(from.words, 16, to.words, 16, 0);
  bpf_l4_csum_replace(skb, IPV6_TCP_CHECKSUM, 0, difference, BPF_F_PSEUDO_HDR);
  bpf_skb_store_bytes(skb, at, &to, 16, 0);
}

SEC("from_client")
int leave(struct __sk_buff *skb) {
  if (skb->protocol == bpf_htons(ETH_P_IP))
    rewrite4(skb, IPV4_SOURCE, CLIENT4, ALIAS4, IPV4_DESTINATION, SERVER4);
  else if (skb->protocol == bpf_htons(ETH_P_IPV6))
    rewrite6(skb, IPV6_SOURCE, (struct address6){{CLIENT6}}, (struct address6){{ALIAS6}}, IPV6_DESTINATION,
             (struct address6){{SERVER6}});
  return TC_ACT_OK;
}

SEC("from_server")
int come_back(struct __sk_buff *skb) {
  if (skb->protocol == bpf_htons(ETH_P_IP))
    rewrite4(skb, IPV4_DESTINATION, ALIAS4, CLIENT4, IPV4_SOURCE, SERVER4);
  else if (skb->protocol == bpf_htons(ETH_P_IPV6))
    rewrite6(skb, IPV6_DESTINATION, (struct address6){{ALIAS6}}, (struct address6){{CLIENT6}}, IPV6_SOURCE,
             (struct address6){{SERVER6}});
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Apache-2.0";
