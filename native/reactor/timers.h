// Deadlines of a reactor in a binary heap, behind one timerfd. Entries are never searched for: one that was replaced or
// whose owner is gone is dropped when it is the first (its `stamp` no longer matches).
#pragma once

#include <cstdint>
#include <vector>

namespace culvert {

class Timers {
public:
  enum class Kind : uint8_t { kConnection, kScript, kListener, kSocketPools };
  struct Entry {
    int64_t deadline_ns;
    uint64_t stamp;
    int32_t id;
    Kind kind;
  };

  Timers();
  ~Timers();
  Timers(const Timers &) = delete;
  Timers &operator=(const Timers &) = delete;

  int Fd() const { return fd_; }
  static int64_t NowNs();

  // Returns the stamp that identifies this setting.
  uint64_t Set(Kind kind, int32_t id, int64_t after_ms);
  // Clears the descriptor's readiness; call when epoll reports it.
  void Acknowledge();
  // Null: there is none.
  const Entry *First() const { return heap_.empty() ? nullptr : &heap_.front(); }
  void DropFirst();
  // Takes the next entry that is due, if any.
  bool PopDue(int64_t now_ns, Entry *entry);
  // Arms the timerfd for the first deadline. Call after changes, once per turn.
  void Arm();

private:
  int fd_;
  int64_t armed_ns_ = 0;
  uint64_t next_stamp_ = 1;
  std::vector<Entry> heap_;
};

} // namespace culvert
