#include "bpf/heartbeats.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>

namespace culvert {
namespace {

constexpr size_t kBytes = Heartbeats::kSlots * sizeof(uint64_t);

} // namespace

Heartbeats &Heartbeats::Instance() {
  static auto *instance = new Heartbeats();
  return *instance;
}

int Heartbeats::Map(int map) {
  void *memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  if (memory == MAP_FAILED) return errno;
  memset(memory, 0, kBytes);
  Unmap();
  std::lock_guard lock(mutex_);
  slots_ = static_cast<uint64_t *>(memory);
  return 0;
}

void Heartbeats::Unmap() {
  std::lock_guard lock(mutex_);
  if (slots_ != nullptr) munmap(slots_, kBytes);
  slots_ = nullptr;
}

void Heartbeats::Beat(int worker, int64_t now_ns) {
  std::lock_guard lock(mutex_);
  if (slots_ != nullptr) __atomic_store_n(&slots_[worker], static_cast<uint64_t>(now_ns), __ATOMIC_RELAXED);
}

} // namespace culvert
