// What other threads hand to a reactor: accepted descriptors of fellow workers, sockets that the netns thread made.
// Messages own their descriptors; a closed inbox refuses them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <sys/socket.h>
#include <vector>

namespace culvert {

struct Message {
  enum class Kind : uint8_t { kAccepted, kSockets };
  Kind kind;
  int fd = -1;              // kAccepted
  int32_t listener = 0;     // kAccepted
  int original_map = -1;    // kAccepted
  sockaddr_storage peer{};  // kAccepted
  uint32_t pool = 0;        // kSockets
  int error = 0;            // kSockets
  std::vector<int> sockets; // kSockets
};

class Inbox {
public:
  Inbox();
  ~Inbox();
  Inbox(const Inbox &) = delete;
  Inbox &operator=(const Inbox &) = delete;

  int Fd() const { return fd_; }
  // False when closed: the descriptors stay the caller's.
  bool Post(Message &&message);
  // Makes the descriptor readable without a message.
  void Wake();
  std::vector<Message> Take();
  // Closes what is left in it.
  void Close();

private:
  int fd_;
  std::mutex mutex_;
  bool closed_ = false;
  std::vector<Message> messages_;
};

// The workers of this process, by index, and how many connections each has open: an accepted descriptor goes to the
// least loaded one.
class WorkerTable {
public:
  static constexpr int kMaxWorkers = 64;
  // Longer than any garbage collection; the BPF programs use the same (bpf/judge.h).
  static constexpr int64_t kBeatStaleNs = 3'000'000'000;

  static WorkerTable &Instance();

  void Join(int worker, std::shared_ptr<Inbox> inbox);
  void Leave(int worker);
  void AddLoad(int worker, int connections) { loads_[worker].fetch_add(connections, std::memory_order_relaxed); }
  // The worker's loop runs. A worker that has not said so for kBeatStaleNs gets no more descriptors from others.
  void Beat(int worker, int64_t now_ns) { beats_[worker].store(now_ns, std::memory_order_relaxed); }
  // `self` unless another worker has clearly less to do and is not stuck.
  int LeastLoaded(int self, int64_t now_ns) const;
  std::shared_ptr<Inbox> InboxOf(int worker);

private:
  std::mutex mutex_;
  std::shared_ptr<Inbox> inboxes_[kMaxWorkers];
  std::atomic<bool> present_[kMaxWorkers] = {};
  std::atomic<int> loads_[kMaxWorkers] = {};
  std::atomic<int64_t> beats_[kMaxWorkers] = {}; // CLOCK_MONOTONIC; 0: never, which counts as running
};

} // namespace culvert
