// Reads the record that the sockops program left for a captured connection (bpf/structs.h), and removes it.
#pragma once

#include "netns/tcp_socket.h"

#include <cstdint>

namespace culvert {

struct OriginalDestination {
  Endpoint endpoint;
  uint32_t pod_id;
};

// False when there is none: the connection was not captured, and must not be served.
bool TakeOriginalDestination(int map, const Endpoint &peer, const Endpoint &local, OriginalDestination *out);

} // namespace culvert
