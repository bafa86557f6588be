// The server of load.cc: echoes on one port; swallows on another and answers the end of a stream with its count of
// bytes; speaks first on a third, with a greeting of the usual message's size.
#pragma once

#include <string>
#include <vector>

#include "sockets.h"

struct Served {
  bool is_sink = false;
  bool ended = false;
  uint64_t swallowed = 0;
  std::string pending;
};

inline int Listen(uint16_t port) {
  sockaddr_storage address{};
  auto &in6 = reinterpret_cast<sockaddr_in6 &>(address);
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  const int fd = OpenSocket(address, SOCK_NONBLOCK);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof in6) != 0 || listen(fd, 4096) != 0) Die("listen");
  return fd;
}

// Writes what it can of `pending`; true when the connection is finished with.
inline bool Flush(int fd, Served &served) {
  while (!served.pending.empty()) {
    const ssize_t n = send(fd, served.pending.data(), served.pending.size(), MSG_NOSIGNAL);
    if (n < 0) return errno != EAGAIN;
    served.pending.erase(0, static_cast<size_t>(n));
  }
  return served.ended;
}

// One read a wake-up (level-triggered), as most servers do; true when the connection is finished with.
inline bool Serve(int fd, Served &served) {
  if (!served.pending.empty()) return Flush(fd, served);
  const ssize_t n = read(fd, chunk, sizeof chunk);
  if (n < 0) return errno != EAGAIN;
  if (served.is_sink) {
    served.swallowed += static_cast<uint64_t>(n);
    if (n == 0) served.pending.assign(reinterpret_cast<const char *>(&served.swallowed), sizeof served.swallowed);
  }
  served.ended = n == 0;
  if (served.is_sink || n == 0) return served.ended && Flush(fd, served);
  const ssize_t sent = send(fd, chunk, static_cast<size_t>(n), MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) return true;
  if (sent < n) served.pending.assign(chunk + (sent > 0 ? sent : 0), chunk + n);
  return false;
}

// As a mail server's begins.
inline std::string Greeting() {
  std::string greeting = "220 mail.example ESMTP ready";
  greeting.resize(Options{}.size - 2, '.');
  return greeting + "\r\n";
}

[[noreturn]] inline void RunServer(uint16_t echo_port, uint16_t sink_port, uint16_t greeting_port) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int echo = Listen(echo_port);
  const int sink = Listen(sink_port);
  const int greeter = Listen(greeting_port);
  const std::string greeting = Greeting();
  Watch(epoll, echo, EPOLLIN, static_cast<uint64_t>(echo));
  Watch(epoll, sink, EPOLLIN, static_cast<uint64_t>(sink));
  Watch(epoll, greeter, EPOLLIN, static_cast<uint64_t>(greeter));
  puts("ready");
  fflush(stdout);
  std::vector<Served> served;
  epoll_event events[kBatch];
  for (;;) {
    const int count = epoll_wait(epoll, events, kBatch, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = static_cast<int>(events[i].data.u64);
      if (fd == echo || fd == sink || fd == greeter) {
        int accepted;
        while ((accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          const int on = 1;
          setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          if (served.size() <= static_cast<size_t>(accepted)) served.resize(static_cast<size_t>(accepted) + 1);
          served[static_cast<size_t>(accepted)] = {fd == sink, false, 0, {}};
          Watch(epoll, accepted, EPOLLIN, static_cast<uint64_t>(accepted));
          // A client that is gone already is found by the read.
          if (fd == greeter && send(accepted, greeting.data(), greeting.size(), MSG_NOSIGNAL) < 0) continue;
        }
        continue;
      }
      Served &connection = served[static_cast<size_t>(fd)];
      if (Serve(fd, connection)) {
        close(fd);
      } else {
        // EPOLLOUT only while something waits: otherwise a writable socket would wake the loop for ever.
        epoll_event event{connection.pending.empty() ? EPOLLIN : EPOLLOUT, {.u64 = static_cast<uint64_t>(fd)}};
        if (events[i].events != EPOLLIN || event.events != EPOLLIN) epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
      }
    }
  }
}
