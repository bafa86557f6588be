#include "netns/tcp_socket.h"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace culvert {
namespace {

std::atomic<int> peer_timeout_ms{kDefaultPeerTimeoutMs};

void SetOption(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof(value));
}

} // namespace

void SetPeerTimeout(int milliseconds) {
  peer_timeout_ms.store(milliseconds, std::memory_order_relaxed);
}

int CreateTcpSocket(int family) {
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) return -errno;
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  int timeout_ms = peer_timeout_ms.load(std::memory_order_relaxed);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, std::max(1, timeout_ms / 2000));
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, timeout_ms / 8000));
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, timeout_ms);
  return fd;
}

int CreateTcpListener(const char *address, uint16_t port, int backlog) {
  sockaddr_storage storage{};
  socklen_t length;
  if (auto *v4 = reinterpret_cast<sockaddr_in *>(&storage); inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    length = sizeof(*v4);
  } else if (auto *v6 = reinterpret_cast<sockaddr_in6 *>(&storage); inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    length = sizeof(*v6);
  } else {
    return -EINVAL;
  }
  int fd = CreateTcpSocket(storage.ss_family);
  if (fd < 0) return fd;
  SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (storage.ss_family == AF_INET6) SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (bind(fd, reinterpret_cast<sockaddr *>(&storage), length) != 0 || listen(fd, backlog) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

Endpoint EndpointOf(const sockaddr_storage &address) {
  Endpoint endpoint{};
  if (address.ss_family == AF_INET) {
    auto &v4 = reinterpret_cast<const sockaddr_in &>(address);
    endpoint.words[2] = 0xffff;
    endpoint.words[3] = ntohl(v4.sin_addr.s_addr);
    endpoint.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    auto &v6 = reinterpret_cast<const sockaddr_in6 &>(address);
    for (int i = 0; i < 4; i++)
      endpoint.words[i] = ntohl(v6.sin6_addr.s6_addr32[i]);
    endpoint.port = ntohs(v6.sin6_port);
  }
  return endpoint;
}

socklen_t SocketAddressOf(const Endpoint &endpoint, int family, sockaddr_storage *out) {
  memset(out, 0, sizeof(*out));
  if (family == AF_INET) {
    auto *v4 = reinterpret_cast<sockaddr_in *>(out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    v4->sin_addr.s_addr = htonl(endpoint.words[3]);
    return sizeof(*v4);
  }
  auto *v6 = reinterpret_cast<sockaddr_in6 *>(out);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(endpoint.port);
  for (int i = 0; i < 4; i++)
    v6->sin6_addr.s6_addr32[i] = htonl(endpoint.words[i]);
  return sizeof(*v6);
}

} // namespace culvert
