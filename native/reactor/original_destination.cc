#include "reactor/original_destination.h"

#include "reactor/tuple.h"

#include <arpa/inet.h>
#include <atomic>
#include <bpf/bpf.h>
#include <cerrno>

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

// One call instead of two where the kernel has it for such maps (5.14).
bool Take(int map, const Tuple &key, Record *record) {
  static std::atomic<bool> is_one_call{true};
  if (is_one_call.load(std::memory_order_relaxed)) {
    if (bpf_map_lookup_and_delete_elem(map, &key, record) == 0) return true;
    if (errno == ENOENT) return false;
    is_one_call.store(false, std::memory_order_relaxed);
  }
  if (bpf_map_lookup_elem(map, &key, record) != 0) return false;
  bpf_map_delete_elem(map, &key);
  return true;
}

} // namespace

bool TakeOriginalDestination(int map, const Endpoint &peer, const Endpoint &local, OriginalDestination *out) {
  Tuple key = TupleOf(peer, local);
  Record record{};
  if (!Take(map, key, &record)) return false;
  for (int i = 0; i < 4; i++)
    out->endpoint.words[i] = ntohl(record.address[i]);
  out->endpoint.port = ntohs(record.port);
  out->pod_id = record.pod_id;
  return true;
}

} // namespace culvert
