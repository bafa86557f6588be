// Request and response on N standing connections, closed loop or at a fixed rate (see load.cc).
#pragma once

#include <fcntl.h>
#include <sys/timerfd.h>
#include <vector>

#include "sockets.h"

struct Exchange {
  int fd = -1;
  size_t received = 0;      // of the message that is on its way
  std::vector<int64_t> due; // of messages not answered yet, oldest at `head`
  size_t head = 0;
};

inline void SendMessage(Exchange &exchange, const Options &options, int64_t due) {
  if (exchange.head == exchange.due.size()) {
    exchange.due.clear();
    exchange.head = 0;
  }
  exchange.due.push_back(due);
  // A 100-byte message that a send buffer of megabytes cannot hold means a stall of minutes: no figure could say that.
  if (send(exchange.fd, chunk, options.size, MSG_NOSIGNAL) != static_cast<ssize_t>(options.size)) Die("send a message");
}

// Returns how many messages this read completed; their times are added to the report.
inline size_t Receive(Exchange &exchange, const Options &options, int64_t window_start, Report &report) {
  const ssize_t n = read(exchange.fd, chunk, sizeof chunk);
  if (n == 0) Die("the connection was closed while answers were outstanding");
  if (n < 0) {
    if (errno == EAGAIN) return 0;
    Die("read an answer");
  }
  exchange.received += static_cast<size_t>(n);
  const int64_t now = NowNs();
  size_t completed = 0;
  for (; exchange.received >= options.size; exchange.received -= options.size, ++completed) {
    if (exchange.head == exchange.due.size()) Die("an answer that nobody asked for");
    const int64_t due = exchange.due[exchange.head++];
    if (due >= window_start) report.latencies_ns.push_back(now - due);
  }
  return completed;
}

inline void RunExchanges(const Options &options, Report &report) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Exchange> exchanges(options.connections);
  for (size_t i = 0; i < exchanges.size(); ++i) {
    exchanges[i].fd = OpenSocket(options.targets[i % options.targets.size()], 0);
    if (Connect(exchanges[i].fd, options.targets[i % options.targets.size()]) != 0) Die("connect");
    fcntl(exchanges[i].fd, F_SETFL, O_NONBLOCK);
    Watch(epoll, exchanges[i].fd, EPOLLIN, i);
  }
  const bool is_closed = options.rate == 0;
  const int64_t interval = is_closed ? 0 : 1'000'000'000 / options.rate;
  const int64_t begin = NowNs();
  const int64_t window_start = begin + options.warmup_ns;
  const int64_t window_end = window_start + options.duration_ns;
  int64_t next_due = begin;
  size_t next = 0, outstanding = 0;
  int timer = -1;
  if (is_closed) {
    for (auto &exchange : exchanges)
      SendMessage(exchange, options, NowNs());
  } else {
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    const itimerspec every{{interval / 1'000'000'000, interval % 1'000'000'000}, {0, 1}};
    timerfd_settime(timer, 0, &every, nullptr);
    Watch(epoll, timer, EPOLLIN, UINT64_MAX);
  }
  Window window(options.watched);
  bool has_started = false, has_ended = false;
  epoll_event events[kBatch];
  for (;;) {
    const int count = epoll_wait(epoll, events, kBatch, 1000);
    const int64_t now = NowNs();
    if (!has_started && now >= window_start) {
      window.Start();
      has_started = true;
    }
    if (!has_ended && now >= window_end) {
      window.End(report);
      has_ended = true;
    }
    if (has_ended && is_closed) {
      // A connection that hangs sends nothing, so neither rate nor percentiles would show it.
      for (const auto &exchange : exchanges)
        if (now - exchange.due[exchange.head] > kHangNs / 5) ++report.errors["ETIMEDOUT"];
      return;
    }
    // Messages due in the window are waited for: leaving the slowest out would flatter the percentiles.
    if (has_ended && outstanding == 0) return;
    if (now >= window_end + kHangNs) {
      report.errors["ETIMEDOUT"] += outstanding;
      return;
    }
    for (; !is_closed && next_due <= now && next_due < window_end; next_due += interval, ++outstanding)
      SendMessage(exchanges[next++ % exchanges.size()], options, next_due);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == UINT64_MAX) {
        uint64_t expirations;
        if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) Die("timerfd");
        continue;
      }
      Exchange &exchange = exchanges[events[i].data.u64];
      const size_t completed = Receive(exchange, options, window_start, report);
      if (has_started && !has_ended) report.count += completed;
      if (is_closed) {
        for (size_t k = 0; k < completed; ++k)
          SendMessage(exchange, options, NowNs());
      } else {
        outstanding -= completed;
      }
    }
  }
}
