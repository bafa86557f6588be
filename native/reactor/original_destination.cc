#include "reactor/original_destination.h"

#include "reactor/tuple.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

namespace culvert {
namespace {

// As in bpf/structs.h; address and port in network byte order.
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
  Tuple key = TupleOf(peer, local);
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
