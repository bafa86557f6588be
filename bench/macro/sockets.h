// What the client and the server of load.cc share: sockets, limits, the options of a run.
#pragma once

#include <arpa/inet.h>
#include <cstdint>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "meter.h"

inline constexpr int kBatch = 256;
inline constexpr size_t kChunk = 128 * 1024;
// A connection that hangs longer than this is an error: later than two retransmissions of a lost SYN (1 s, 3 s).
inline constexpr int64_t kHangNs = 5'000'000'000;

struct Options {
  std::string mode;
  size_t connections = 1;
  size_t size = 100;
  std::string question; // what a client of `greeting` says first; empty: nothing
  int64_t rate = 0;
  int64_t warmup_ns = 200'000'000;
  int64_t duration_ns = 3'000'000'000;
  int64_t bucket_ns = 1'000'000'000; // of the series of `connect`
  std::vector<pid_t> watched;
  std::vector<sockaddr_storage> targets;
};

inline char chunk[kChunk];

inline int OpenSocket(const sockaddr_storage &address, int flags) {
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) Die("socket");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

inline int Connect(int fd, const sockaddr_storage &address) {
  const socklen_t length = address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  return connect(fd, reinterpret_cast<const sockaddr *>(&address), length);
}

inline void Watch(int epoll, int fd, uint32_t events, uint64_t tag) {
  epoll_event event{events, {.u64 = tag}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) Die("epoll_ctl");
}
