// TCP sockets as Culvert uses them on both legs: non-blocking, close-on-exec, no Nagle delay, keep-alive and user
// time-out, so that a peer that vanished does not hold a connection for ever.
#pragma once

#include <cstdint>
#include <sys/socket.h>

namespace culvert {

// How long a peer may acknowledge nothing, whether data or keep-alive probes are sent, before its connection is given
// up. Probes begin after half of it and come every eighth (with a user time-out the kernel does not count them). Holds
// for sockets created from then on, in all threads.
inline constexpr int kDefaultPeerTimeoutMs = 120'000;
void SetPeerTimeout(int milliseconds);

// Creates a socket of the family in the namespace of the calling thread. Returns the descriptor or -errno.
int CreateTcpSocket(int family);

// Binds and listens in the namespace of the calling thread; accepted sockets inherit the options. `::` serves
// v4-mapped clients too. Returns the descriptor or -errno; -EINVAL when `address` is not an IP address.
int CreateTcpListener(const char *address, uint16_t port, int backlog);

// A native-order view of a socket address: 16 bytes v4-mapped as four host-order words, and a port.
struct Endpoint {
  uint32_t words[4];
  uint16_t port;
  bool IsIpv4() const { return words[0] == 0 && words[1] == 0 && words[2] == 0xffff; }
};

Endpoint EndpointOf(const sockaddr_storage &address);
// Fills `out` for a socket of `family` (an IPv4 endpoint on AF_INET6 is written v4-mapped) and returns its length.
socklen_t SocketAddressOf(const Endpoint &endpoint, int family, sockaddr_storage *out);

} // namespace culvert
