// What the maps hold: shared with src/kernel/layout.ts and native/reactor/original_destination.cc. Addresses are 16
// bytes, IPv4 in its v4-mapped form, and addresses and ports are in network order unless a comment says otherwise.
#pragma once

#include <linux/types.h>

#define MESH_PORT_OUTBOUND 15001
#define MESH_PORT_INBOUND 15006
#define MESH_PORT_TUNNEL 15008
// Where captured IPv6 connections go: 256 ports of the pod's own address, without a listener of their own. They stay
// free for applications: sk_lookup takes only tuples that have a record.
#define MESH_PORT_SPREAD 15104
#define MESH_PORT_SPREAD_COUNT 256

#define MAX_PODS 4096

// Keys of `listeners`.
#define LISTENERS_PER_POD 4
#define LISTENER_INBOUND4 0
#define LISTENER_INBOUND6 1
#define LISTENER_OUTBOUND 2
#define MAX_OPT_OUTS 16
#define MAX_POD_CIDRS 16
#define MAX_NODE_ADDRESSES 1024

struct address {
  __be32 words[4];
};
_Static_assert(sizeof(struct address) == 16, "layout");

// A connection as the side that connects sees it.
struct tuple {
  struct address source;
  struct address destination;
  __be16 source_port;
  __be16 destination_port;
  __u32 zero;
};
_Static_assert(sizeof(struct tuple) == 40, "layout");

struct original_destination {
  struct address address;
  __be16 port;
  __u16 family; // of the application's socket: AF_INET6 for v4-mapped destinations
  __u32 pod_id;
  __u64 time_ns; // CLOCK_MONOTONIC
};
_Static_assert(sizeof(struct original_destination) == 32, "layout");

struct bypass {
  __u64 time_ns; // CLOCK_MONOTONIC
  __u32 is_seen; // 1: sk_lookup has let it pass, so the tuple arrived as it was sent
  __u32 zero;
};
_Static_assert(sizeof(struct bypass) == 16, "layout");

// What becomes of connections that the proxy cannot take: passed, unless the direction is strict.
#define POD_STRICT_OUTBOUND 1
#define POD_STRICT_INBOUND 2
// The proxy takes no new connection of this pod (it is leaving, or could not open its listeners).
#define POD_SEALED 4
// Connections to what is not the mesh's are captured too.
#define POD_OBSERVES_EGRESS 8

struct pod {
  __u32 pod_id;
  __u32 flags;
  struct address ip4; // all zero: the pod has none
  struct address ip6;
};
_Static_assert(sizeof(struct pod) == 40, "layout");

struct pod_address {
  __u32 pod_id;
  __u32 flags;
};
_Static_assert(sizeof(struct pod_address) == 8, "layout");

// A service's address and port that no endpoint stands behind.
struct refused {
  struct address address;
  __be16 port;
  __u16 zero;
};
_Static_assert(sizeof(struct refused) == 20, "layout");

// When each worker's loop last said that it runs: CLOCK_MONOTONIC; 0: no such worker.
#define MAX_WORKERS 64
struct heartbeats {
  __u64 last_ns[MAX_WORKERS];
};
_Static_assert(sizeof(struct heartbeats) == 512, "layout");

// Masks instead of prefix lengths: the programs then need no shift by a variable.
struct network {
  struct address address;
  struct address mask;
};
_Static_assert(sizeof(struct network) == 32, "layout");

struct networks {
  __u32 count;
  __u32 zero;
  struct network list[MAX_POD_CIDRS];
};
_Static_assert(sizeof(struct networks) == 520, "layout");

#define OPT_OUT_OUTBOUND 1
#define OPT_OUT_INBOUND 2

// Outbound rules speak of the destination's address and port, inbound ones of the client's address and the pod's port.
struct opt_out {
  struct network network;
  __u16 port_low; // host order, both ends included
  __u16 port_high;
  __u32 direction;
};
_Static_assert(sizeof(struct opt_out) == 40, "layout");

struct opt_outs {
  __u32 count;
  __u32 zero;
  struct opt_out list[MAX_OPT_OUTS];
};
_Static_assert(sizeof(struct opt_outs) == 648, "layout");

// Kept with a captured socket: what the application dialled, and what it was rewritten to. A socket may connect again
// after a failure, to something that is passed: `rewritten` tells whether `original` still speaks of its peer.
struct captured_socket {
  struct address original;
  struct address rewritten;
  __be16 original_port;
  __be16 rewritten_port;
  __u32 pod_id;
};
_Static_assert(sizeof(struct captured_socket) == 40, "layout");

struct proxy_socket {
  __u64 netns_cookie;
};
_Static_assert(sizeof(struct proxy_socket) == 8, "layout");

// A port on which the kubelet probes a pod.
struct probe_port {
  __u32 pod_id;
  __u16 port; // host order
  __u16 zero;
};
_Static_assert(sizeof(struct probe_port) == 8, "layout");

// What holds for the node as a whole. Namespaces in neither `pods` nor `plain` are told apart from plain ones,
#define NODE_NOTES_UNKNOWN 1
// and may not connect to what the mesh has an interest in.
#define NODE_DENIES_UNKNOWN 2
// By address and port: the exempt cgroup is not there to tell probes by.
#define NODE_PASSES_PROBES 4
