// The least a relay can do: epoll, recv, send. No slab, no rings, no decisions: what the kernel costs.
#pragma once

#include "relay_sockets.h"

#include <vector>

namespace relay {

class BytesRelay {
public:
  BytesRelay(int listener, uint16_t target) : listener_(listener), target_(target), poller_(epoll_create1(0)) {
    epoll_event event{};
    event.events = EPOLLIN;
    epoll_ctl(poller_, EPOLL_CTL_ADD, listener_, &event);
  }

  [[noreturn]] void Run() {
    epoll_event ready[256];
    for (;;) {
      int count = epoll_wait(poller_, ready, 256, -1);
      for (int i = 0; i < count; i++) {
        auto *side = static_cast<Side *>(ready[i].data.ptr);
        if (side == nullptr) {
          Accept();
        } else if (side->fd >= 0) {
          Handle(side, ready[i].events);
        }
      }
      for (Side *side : dead_)
        delete side;
      dead_.clear();
    }
  }

private:
  struct Side {
    int fd = -1;
    Side *other = nullptr;
    bool is_connected = true;
    bool has_ended = false;
    std::vector<char> waiting; // what the kernel did not take
  };

  void Watch(Side *side) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = side;
    epoll_ctl(poller_, EPOLL_CTL_ADD, side->fd, &event);
  }

  void Accept() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
      auto *down = new Side();
      auto *up = new Side();
      down->fd = fd, down->other = up;
      up->fd = StartConnect(target_), up->other = down, up->is_connected = false;
      SetNoDelay(fd);
      Watch(up);
      Watch(down);
    }
  }

  void Handle(Side *side, uint32_t events) {
    if ((events & EPOLLERR) != 0) return Drop(side);
    if ((events & EPOLLOUT) != 0) {
      if (!side->is_connected) {
        side->is_connected = true;
        if (!Move(side->other)) return;
      }
      if (!side->waiting.empty() && (!Flush(side) || !Move(side->other))) return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) Move(side);
  }

  // From this side to the other until there is nothing more. False when both are gone.
  bool Move(Side *side) {
    static char bytes[16 * 1024];
    Side *to = side->other;
    while (!side->has_ended && to->is_connected && to->waiting.empty()) {
      ssize_t got = recv(side->fd, bytes, sizeof(bytes), 0);
      if (got < 0 && errno == EAGAIN) return true;
      if (got < 0) return Drop(side), false;
      if (got == 0) {
        side->has_ended = true;
        if (to->has_ended) return Drop(side), false;
        shutdown(to->fd, SHUT_WR);
        return true;
      }
      ssize_t sent = send(to->fd, bytes, size_t(got), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return Drop(side), false;
      if (sent < got) to->waiting.assign(bytes + std::max<ssize_t>(sent, 0), bytes + got);
      if (got < ssize_t(sizeof(bytes))) return true;
    }
    return true;
  }

  bool Flush(Side *side) {
    ssize_t sent = send(side->fd, side->waiting.data(), side->waiting.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return Drop(side), false;
    if (sent > 0) side->waiting.erase(side->waiting.begin(), side->waiting.begin() + sent);
    return true;
  }

  void Drop(Side *side) {
    for (Side *each : {side, side->other}) {
      close(each->fd);
      each->fd = -1;
      dead_.push_back(each);
    }
  }

  int listener_;
  uint16_t target_;
  int poller_;
  std::vector<Side *> dead_;
};

} // namespace relay
