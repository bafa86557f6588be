// The key under which BPF maps keep what they know of a connection: bpf/structs.h, everything in network byte order.
#pragma once

#include "netns/tcp_socket.h"

#include <arpa/inet.h>
#include <cstdint>

namespace culvert {

struct Tuple {
  uint32_t source[4];
  uint32_t destination[4];
  uint16_t source_port;
  uint16_t destination_port;
  uint32_t zero;
};
static_assert(sizeof(Tuple) == 40);

inline Tuple TupleOf(const Endpoint &source, const Endpoint &destination) {
  Tuple tuple{};
  for (int i = 0; i < 4; i++) {
    tuple.source[i] = htonl(source.words[i]);
    tuple.destination[i] = htonl(destination.words[i]);
  }
  tuple.source_port = htons(source.port);
  tuple.destination_port = htons(destination.port);
  return tuple;
}

} // namespace culvert
