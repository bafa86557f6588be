#include "reactor/socket_pools.h"

#include "netns/netns_thread.h"
#include "netns/tcp_socket.h"

#include <algorithm>
#include <cerrno>
#include <unistd.h>

namespace culvert {
namespace {

constexpr int kMaxBatch = 64;

void CloseAll(std::vector<int> &sockets) {
  for (int socket : sockets)
    close(socket);
  sockets.clear();
}

} // namespace

void SocketPools::Close() {
  for (Pool &pool : pools_)
    CloseAll(pool.sockets);
  pools_.clear();
  for (Served &served : served_)
    if (served.fd >= 0) close(served.fd);
  served_.clear();
}

SocketPools::Pool &SocketPools::PoolOf(int netns, int family) {
  for (Pool &pool : pools_)
    if (pool.netns == netns && pool.family == family) return pool;
  pools_.push_back({next_id_++, netns, family, 4, false, true, {}, {}});
  return pools_.back();
}

int SocketPools::Take(int netns, int family, Waiter waiter) {
  Pool &pool = PoolOf(netns, family);
  pool.was_used = true;
  int fd = -1;
  if (pool.sockets.empty()) {
    pool.waiters.push_back(waiter);
    pool.batch = std::min(kMaxBatch, pool.batch * 2);
  } else {
    fd = pool.sockets.back();
    pool.sockets.pop_back();
  }
  if (!pool.is_requested && pool.sockets.size() * 2 < size_t(pool.batch)) Request(pool);
  return fd;
}

void SocketPools::Request(Pool &pool) {
  pool.is_requested = true;
  int count = std::max(pool.batch, int(pool.waiters.size()));
  NetnsThread::Instance().Post(pool.netns, [inbox = inbox_, id = pool.id, family = pool.family, count](int error) {
    Message message{};
    message.kind = Message::Kind::kSockets;
    message.pool = id;
    message.error = error;
    while (message.error == 0 && int(message.sockets.size()) < count) {
      int fd = CreateTcpSocket(family);
      if (fd < 0) {
        message.error = -fd;
      } else {
        message.sockets.push_back(fd);
      }
    }
    if (!inbox->Post(std::move(message))) CloseAll(message.sockets);
  });
}

void SocketPools::Arrived(Message &&message) {
  auto pool = std::find_if(pools_.begin(), pools_.end(), [&](const Pool &each) { return each.id == message.pool; });
  if (pool == pools_.end()) { // forgotten meanwhile
    CloseAll(message.sockets);
    return;
  }
  pool->is_requested = false;
  pool->sockets.insert(pool->sockets.end(), message.sockets.begin(), message.sockets.end());
  while (!pool->waiters.empty() && !pool->sockets.empty()) {
    served_.push_back({pool->waiters.front(), pool->sockets.back()});
    pool->waiters.pop_front();
    pool->sockets.pop_back();
  }
  if (pool->waiters.empty()) return;
  if (message.error == 0) {
    Request(*pool);
    return;
  }
  for (Waiter &waiter : pool->waiters)
    served_.push_back({waiter, -message.error});
  pool->waiters.clear();
}

bool SocketPools::NextServed(Waiter *waiter, int *fd) {
  if (served_.empty()) return false;
  *waiter = served_.front().waiter;
  *fd = served_.front().fd;
  served_.pop_front();
  return true;
}

void SocketPools::Forget(int netns) {
  for (auto pool = pools_.begin(); pool != pools_.end();) {
    if (pool->netns != netns) {
      ++pool;
      continue;
    }
    CloseAll(pool->sockets);
    for (Waiter &waiter : pool->waiters)
      served_.push_back({waiter, -ENETDOWN});
    pool = pools_.erase(pool);
  }
}

bool SocketPools::Trim() {
  bool any = false;
  for (Pool &pool : pools_) {
    if (!pool.was_used) {
      CloseAll(pool.sockets);
      pool.batch = 4;
    }
    pool.was_used = false;
    any = any || !pool.sockets.empty();
  }
  return any;
}

} // namespace culvert
