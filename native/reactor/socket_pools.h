// Sockets made ahead in other namespaces, per namespace and family, so that a connect does not wait for the netns
// thread: entering a namespace and coming home costs 3.6 µs and two wake-ups, shared by a batch. A pool starts empty,
// grows with demand and is closed when it was not used for a while: it costs descriptors, and pins a namespace.
#pragma once

#include "reactor/inbox.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace culvert {

class SocketPools {
public:
  struct Waiter {
    int32_t connection;
    uint32_t generation;
  };

  explicit SocketPools(std::shared_ptr<Inbox> inbox) : inbox_(std::move(inbox)) {}
  ~SocketPools() { Close(); }
  SocketPools(const SocketPools &) = delete;
  SocketPools &operator=(const SocketPools &) = delete;

  // A descriptor, or -1: then the waiter is told by TakeArrived.
  int Take(int netns, int family, Waiter waiter);
  // Stores a kSockets message. Waiters who can be served now, or have to be told of its error, come out of NextServed.
  void Arrived(Message &&message);
  // A waiter with its descriptor, or with -errno. False when there is none.
  bool NextServed(Waiter *waiter, int *fd);
  void Close();
  void Forget(int netns);
  // Closes the sockets of pools not used since the last call. True while any socket is left.
  bool Trim();

private:
  struct Pool {
    uint32_t id;
    int netns;
    int family;
    int batch = 4;
    bool is_requested = false;
    bool was_used = true;
    std::vector<int> sockets;
    std::deque<Waiter> waiters;
  };
  struct Served {
    Waiter waiter;
    int fd;
  };

  Pool &PoolOf(int netns, int family);
  void Request(Pool &pool);

  std::shared_ptr<Inbox> inbox_;
  uint32_t next_id_ = 1;
  std::deque<Pool> pools_;
  std::deque<Served> served_;
};

} // namespace culvert
