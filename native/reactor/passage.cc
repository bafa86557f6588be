#include "reactor/passage.h"

#include "reactor/tuple.h"

#include <bpf/bpf.h>
#include <cstdint>

namespace culvert {
namespace {

struct Bypass {
  uint64_t time_ns;
  uint32_t is_seen;
  uint32_t zero;
};
static_assert(sizeof(Bypass) == 16);

} // namespace

Passage PassageOf(int bypass_map, int fd) {
  sockaddr_storage local{}, peer{};
  socklen_t local_length = sizeof(local), peer_length = sizeof(peer);
  if (getsockname(fd, reinterpret_cast<sockaddr *>(&local), &local_length) != 0 ||
      getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &peer_length) != 0)
    return Passage::kUnknown;
  Tuple key = TupleOf(EndpointOf(local), EndpointOf(peer));
  Bypass record{};
  if (bpf_map_lookup_elem(bypass_map, &key, &record) != 0) return Passage::kUnknown;
  return record.is_seen != 0 ? Passage::kSeen : Passage::kNotSeen;
}

} // namespace culvert
