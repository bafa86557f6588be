#include "reactor/original_destination.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

namespace culvert {
namespace {

// As in bpf/structs.h; everything in network byte order but family, pod_id and time_ns.
struct Tuple {
  uint32_t source[4];
  uint32_t destination[4];
  uint16_t source_port;
  uint16_t destination_port;
  uint32_t zero;
};
static_assert(sizeof(Tuple) == 40);

struct Record {
  uint32_t address[4];
  uint16_t port;
  uint16_t family;
  uint32_t pod_id;
  uint64_t time_ns;
};
static_assert(sizeof(Record) == 32);

} // namespace

bool TakeOriginalDestination(int map, const Endpoint &peer, const Endpoint &local, OriginalDestination *out) {
  Tuple key{};
  for (int i = 0; i < 4; i++) {
    key.source[i] = htonl(peer.words[i]);
    key.destination[i] = htonl(local.words[i]);
  }
  key.source_port = htons(peer.port);
  key.destination_port = htons(local.port);
  Record record{};
  if (bpf_map_lookup_elem(map, &key, &record) != 0) return false;
  bpf_map_delete_elem(map, &key);
  for (int i = 0; i < 4; i++)
    out->endpoint.words[i] = ntohl(record.address[i]);
  out->endpoint.port = ntohs(record.port);
  out->pod_id = record.pod_id;
  return true;
}

} // namespace culvert
