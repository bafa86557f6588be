// Short connections that the client closes first, N at a time (see load.cc): after the answer to its message, or after
// the server's first bytes. Failures are counted and tried again.
#pragma once

#include <cstring>
#include <vector>

#include "sockets.h"

struct Attempt {
  enum class State { kIdle, kConnecting, kWaiting };
  State state = State::kIdle;
  int fd = -1;
  size_t received = 0;
  int64_t started = 0;
};

class Connector {
public:
  Connector(const Options &options, Report &report)
      : options_(options), report_(report), epoll_(epoll_create1(EPOLL_CLOEXEC)), attempts_(options.connections) {
    report.series.resize(static_cast<size_t>(options.duration_ns / options.bucket_ns));
  }

  void Run() {
    const int64_t begin = NowNs();
    const int64_t window_start = begin + options_.warmup_ns;
    Window window(options_.watched);
    bool has_started = false;
    int64_t next_sweep = begin;
    epoll_event events[kBatch];
    for (;;) {
      bool has_idle = false;
      for (size_t i = 0; i < attempts_.size(); ++i) {
        if (attempts_[i].state == Attempt::State::kIdle) Begin(i);
        has_idle |= attempts_[i].state == Attempt::State::kIdle;
      }
      const int count = epoll_wait(epoll_, events, kBatch, has_idle ? 1 : 100);
      const int64_t now = NowNs();
      if (!has_started && now >= window_start) {
        window.Start();
        has_started = is_measuring_ = true;
      }
      if (has_started && now >= window_start + options_.duration_ns) {
        window.End(report_);
        return;
      }
      bucket_ = static_cast<size_t>((now - window_start) / options_.bucket_ns);
      for (int i = 0; i < count; ++i)
        Advance(events[i].data.u64);
      if (now < next_sweep) continue;
      next_sweep = now + 100'000'000;
      for (auto &attempt : attempts_)
        if (attempt.state != Attempt::State::kIdle && now - attempt.started > kHangNs) Fail(attempt, ETIMEDOUT);
    }
  }

private:
  void Begin(size_t index) {
    Attempt &attempt = attempts_[index];
    const sockaddr_storage &target = options_.targets[sequence_++ % options_.targets.size()];
    attempt = {Attempt::State::kConnecting, OpenSocket(target, SOCK_NONBLOCK), 0, NowNs()};
    if (Connect(attempt.fd, target) != 0 && errno != EINPROGRESS) return Fail(attempt, errno);
    Watch(epoll_, attempt.fd, EPOLLIN | EPOLLOUT | EPOLLET, index);
  }

  void Advance(size_t index) {
    Attempt &attempt = attempts_[index];
    if (attempt.state == Attempt::State::kConnecting) {
      int error = 0;
      socklen_t length = sizeof error;
      getsockopt(attempt.fd, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) return Fail(attempt, error);
      attempt.state = Attempt::State::kWaiting;
      if (!is_greeted_ || !options_.question.empty()) {
        const char *message = is_greeted_ ? options_.question.data() : chunk;
        const size_t length = is_greeted_ ? options_.question.size() : options_.size;
        if (send(attempt.fd, message, length, MSG_NOSIGNAL) < 0) return Fail(attempt, errno);
        return; // edge-triggered, but what arrived before the message cannot be its answer
      }
    }
    const ssize_t n = read(attempt.fd, chunk, sizeof chunk);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return Fail(attempt, n == 0 ? EPIPE : errno);
    attempt.received += static_cast<size_t>(n);
    if (attempt.received < wanted_) return;
    close(attempt.fd);
    attempt.state = Attempt::State::kIdle;
    if (!is_measuring_) return;
    report_.latencies_ns.push_back(NowNs() - attempt.started);
    ++report_.count;
    if (bucket_ < report_.series.size()) ++report_.series[bucket_];
  }

  void Fail(Attempt &attempt, int error) {
    ++report_.errors[strerrorname_np(error)];
    close(attempt.fd);
    attempt.state = Attempt::State::kIdle;
  }

  const Options &options_;
  Report &report_;
  const int epoll_;
  const bool is_greeted_ = options_.mode == "greeting";
  const size_t wanted_ = is_greeted_ ? 1 : options_.size;
  std::vector<Attempt> attempts_;
  size_t sequence_ = 0;
  size_t bucket_ = 0;
  bool is_measuring_ = false;
};
