// Records of kRecordWords words, written by one side and read by the other on the same thread, so without any locking.
#pragma once

#include "reactor/layout.h"

#include <cstring>
#include <vector>

namespace culvert {

class EventRing {
public:
  EventRing() : words_(size_t{kEventRecords} * kRecordWords) {}

  int32_t *Words() { return words_.data(); }
  size_t Bytes() const { return words_.size() * sizeof(int32_t); }
  int Begin() const { return begin_; }
  int End() const { return end_; }
  bool IsEmpty() const { return begin_ == end_; }
  int RoomRecords() const { return kEventRecords - end_ / kRecordWords; }

  // Returns the zeroed words of a new event of `records` records, to be filled before the next call. Never fails: what
  // the ring has no room for waits beside it, in order.
  int32_t *Add(Event type, int32_t connection, uint32_t generation, int records = 1) {
    int32_t *words;
    if (overflow_.empty() && records <= RoomRecords()) {
      words = words_.data() + end_;
      end_ += records * kRecordWords;
    } else {
      overflow_.resize(overflow_.size() + size_t(kAcceptedRecords) * kRecordWords);
      words = overflow_.data() + overflow_.size() - size_t(kAcceptedRecords) * kRecordWords;
    }
    memset(words, 0, size_t(records) * kRecordWords * sizeof(int32_t));
    words[0] = static_cast<int32_t>(type);
    words[1] = connection;
    words[2] = static_cast<int32_t>(generation);
    return words;
  }
  // TypeScript has handled everything before `end`; what was added meanwhile stays.
  void Handled(int end) {
    begin_ = end;
    if (begin_ != end_) return;
    begin_ = end_ = 0;
    TakeOverflow();
  }

private:
  // Entries wait with the room of the longest record each, so that they can be told apart.
  void TakeOverflow() {
    constexpr size_t kEntry = size_t{kAcceptedRecords} * kRecordWords;
    size_t taken = 0;
    for (; taken < overflow_.size() && RoomRecords() >= kAcceptedRecords; taken += kEntry) {
      bool is_accepted = overflow_[taken] == static_cast<int32_t>(Event::kAccepted);
      size_t length = is_accepted ? kEntry : size_t{kRecordWords};
      memcpy(words_.data() + end_, overflow_.data() + taken, length * sizeof(int32_t));
      end_ += int(length);
    }
    overflow_.erase(overflow_.begin(), overflow_.begin() + long(taken));
  }

  std::vector<int32_t> words_;
  std::vector<int32_t> overflow_;
  int begin_ = 0;
  int end_ = 0;
};

} // namespace culvert
