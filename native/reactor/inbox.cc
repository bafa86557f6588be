#include "reactor/inbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace culvert {

Inbox::Inbox() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Inbox::~Inbox() {
  Close();
  if (fd_ >= 0) close(fd_);
}

bool Inbox::Post(Message &&message) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    messages_.push_back(std::move(message));
    if (messages_.size() > 1) return true; // the descriptor is readable already
  }
  Wake();
  return true;
}

void Inbox::Wake() {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t ignored = write(fd_, &one, sizeof(one));
}

std::vector<Message> Inbox::Take() {
  uint64_t count;
  [[maybe_unused]] ssize_t ignored = read(fd_, &count, sizeof(count));
  std::vector<Message> taken;
  std::lock_guard lock(mutex_);
  taken.swap(messages_);
  return taken;
}

void Inbox::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  for (Message &message : messages_) {
    if (message.fd >= 0) close(message.fd);
    for (int socket : message.sockets)
      close(socket);
  }
  messages_.clear();
}

WorkerTable &WorkerTable::Instance() {
  static auto *instance = new WorkerTable();
  return *instance;
}

void WorkerTable::Join(int worker, std::shared_ptr<Inbox> inbox) {
  std::lock_guard lock(mutex_);
  inboxes_[worker] = std::move(inbox);
  loads_[worker] = 0;
  beats_[worker] = 0;
  present_[worker] = true;
}

void WorkerTable::Leave(int worker) {
  std::lock_guard lock(mutex_);
  present_[worker] = false;
  inboxes_[worker].reset();
}

int WorkerTable::LeastLoaded(int self, int64_t now_ns) const {
  int best = self;
  int best_load = loads_[self].load(std::memory_order_relaxed);
  for (int worker = 0; worker < kMaxWorkers; worker++) {
    if (!present_[worker].load(std::memory_order_relaxed)) continue;
    int64_t beat_ns = beats_[worker].load(std::memory_order_relaxed);
    if (worker != self && beat_ns != 0 && now_ns - beat_ns > kBeatStaleNs) continue;
    // A difference of one stream (two connections) is not worth a wake-up of the other worker.
    int load = loads_[worker].load(std::memory_order_relaxed);
    if (load + 2 < best_load) {
      best = worker;
      best_load = load;
    }
  }
  return best;
}

std::shared_ptr<Inbox> WorkerTable::InboxOf(int worker) {
  std::lock_guard lock(mutex_);
  return inboxes_[worker];
}

} // namespace culvert
