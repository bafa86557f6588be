// The maps. The loader makes one map of those that have the same name in several objects. Hashes are not preallocated:
// a replaced or deleted element then stays intact until its readers have left, so a judgement never mixes two pods.
#pragma once

#include "reasons.h"
#include "structs.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

// Enrolled pods by netns cookie. Presence arms outbound capture.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAX_PODS);
  __type(key, __u64);
  __type(value, struct pod);
} pods SEC(".maps");

// The pod of each address of an enrolled pod. Presence arms inbound capture.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAX_PODS * 4);
  __type(key, struct address);
  __type(value, struct pod_address);
} pod_by_address SEC(".maps");

// By pod_id; absent when the pod has none.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAX_PODS);
  __type(key, __u32);
  __type(value, struct opt_outs);
} opt_outs SEC(".maps");

// Addresses of interest: services and workloads. The value means nothing.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 262144);
  __type(key, struct address);
  __type(value, __u32);
} destinations SEC(".maps");

// Networks of interest, under key 0: a hash, because an element of an array is overwritten under its readers.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct networks);
} pod_cidrs SEC(".maps");

// Services without an endpoint. The value means nothing.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 65536);
  __type(key, struct refused);
  __type(value, __u32);
} refused SEC(".maps");

// Mapped into the proxy's memory; each slot is written by its worker alone.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct heartbeats);
} heartbeats SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct captured_socket);
} captured_sockets SEC(".maps");

// Sockets that a process in the proxy's cgroup created: an identity that, unlike a mark, cannot be forged.
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct proxy_socket);
} proxy_sockets SEC(".maps");

// Written before the SYN leaves, taken by the proxy when it accepts. A miss there means: reset, never guess.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct tuple);
  __type(value, struct original_destination);
} original_destination SEC(".maps");

// The proxy's own connections, which must not be captured again where they arrive.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct tuple);
  __type(value, struct bypass);
} bypass SEC(".maps");

// The proxy's listeners at pod_id * LISTENERS_PER_POD + LISTENER_…. No program is attached, ever: its sockets stay
// ordinary ones.
struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, MAX_PODS *LISTENERS_PER_POD);
  __type(key, __u32);
  __type(value, __u64);
} listeners SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, REASON_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} reasons SEC(".maps");

// NODE_* flags.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} node_flags SEC(".maps");

// The node's own addresses. The value means nothing.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAX_NODE_ADDRESSES);
  __type(key, struct address);
  __type(value, __u32);
} node_addresses SEC(".maps");

// The value means nothing.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAX_PODS * 4);
  __type(key, struct probe_port);
  __type(value, __u32);
} probe_ports SEC(".maps");

// Namespaces, by cookie, of which it is known that the mesh has no part in them. The value means nothing.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, MAX_PODS * 4);
  __type(key, __u64);
  __type(value, __u32);
} plain SEC(".maps");

// Namespaces, by cookie, that nothing is known of yet, and when (CLOCK_MONOTONIC, ns) a process in each first dialled
// what the mesh has an interest in.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, MAX_PODS * 2);
  __type(key, __u64);
  __type(value, __u64);
} unknown SEC(".maps");
