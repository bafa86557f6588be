// The BPF map in which each worker says that its loop runs, mapped into this process: a beat is a plain store, so it
// costs a stuck worker nothing to miss one. All threads share the mapping.
#pragma once

#include <cstdint>
#include <mutex>

namespace culvert {

class Heartbeats {
public:
  static constexpr int kSlots = 64; // MAX_WORKERS of bpf/structs.h

  static Heartbeats &Instance();

  // Maps `map`, in place of the one before, with all slots empty. Returns 0 or an errno.
  int Map(int map);
  // The mapping keeps the BPF map alive; beats go nowhere after this.
  void Unmap();
  void Beat(int worker, int64_t now_ns);

private:
  std::mutex mutex_;
  uint64_t *slots_ = nullptr;
};

} // namespace culvert
