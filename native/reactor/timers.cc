#include "reactor/timers.h"

#include <algorithm>
#include <ctime>
#include <sys/timerfd.h>
#include <unistd.h>

namespace culvert {
namespace {

bool IsLater(const Timers::Entry &a, const Timers::Entry &b) {
  return a.deadline_ns > b.deadline_ns;
}

} // namespace

Timers::Timers() : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {}

Timers::~Timers() {
  if (fd_ >= 0) close(fd_);
}

int64_t Timers::NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

uint64_t Timers::Set(Kind kind, int32_t id, int64_t after_ms) {
  uint64_t stamp = next_stamp_++;
  heap_.push_back({NowNs() + after_ms * 1'000'000, stamp, id, kind});
  std::push_heap(heap_.begin(), heap_.end(), IsLater);
  return stamp;
}

void Timers::Acknowledge() {
  uint64_t expirations;
  [[maybe_unused]] ssize_t ignored = read(fd_, &expirations, sizeof(expirations));
  armed_ns_ = 0;
}

bool Timers::PopDue(int64_t now_ns, Entry *entry) {
  if (heap_.empty() || heap_.front().deadline_ns > now_ns) return false;
  *entry = heap_.front();
  DropFirst();
  return true;
}

void Timers::DropFirst() {
  std::pop_heap(heap_.begin(), heap_.end(), IsLater);
  heap_.pop_back();
}

void Timers::Arm() {
  if (heap_.empty()) return;
  int64_t first = heap_.front().deadline_ns;
  if (armed_ns_ != 0 && armed_ns_ <= first) return;
  armed_ns_ = first;
  itimerspec spec{};
  spec.it_value.tv_sec = first / 1'000'000'000;
  spec.it_value.tv_nsec = first % 1'000'000'000;
  timerfd_settime(fd_, TFD_TIMER_ABSTIME, &spec, nullptr);
}

} // namespace culvert
