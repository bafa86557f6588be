// The slab: equal blocks in one memory region, visible to TypeScript as one ArrayBuffer.
//
//   free list -> [native reads into it] -> event: TypeScript holds one reference -> writes take one each -> free list
//
// A block is counted, so that slices of it can wait on several connections. Its generation changes when the script
// gives it up, although slices of it may still be queued: a handle kept too long names nothing.
#pragma once

#include "reactor/layout.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace culvert {

class Slab {
public:
  static constexpr int32_t kNone = -1;

  Slab(int32_t blocks, bool poison);
  ~Slab();
  Slab(const Slab &) = delete;
  Slab &operator=(const Slab &) = delete;

  bool IsMapped() const { return memory_ != nullptr; }
  uint8_t *Memory() const { return memory_; }
  size_t Bytes() const { return size_t{references_.size()} * kBlockBytes; }
  uint8_t *At(int32_t block) const { return memory_ + size_t(block) * kBlockBytes; }
  // Without those that are kept.
  int32_t Available() const { return std::max(0, int32_t(free_.size()) - kept_); }
  bool IsEmpty() const { return free_.empty(); }
  // From now on the last free blocks, so many, are left to those who look whether it IsEmpty(). One is always
  // Available.
  void Keep(int32_t blocks) { kept_ = std::min(blocks, int32_t(references_.size()) - 1); }
  int32_t InUse() const { return int32_t(references_.size() - free_.size()); }
  uint32_t Generation(int32_t block) const { return generations_[block]; }

  // Takes a block with one reference, or kNone.
  int32_t Take();
  bool IsCurrent(int32_t block, uint32_t generation) const {
    return block >= 0 && size_t(block) < references_.size() && references_[block] > 0 &&
           generations_[block] == generation;
  }
  // Whether a slice is some bytes of that block: another block may hold another pod's.
  static bool Contains(int32_t block, int32_t offset, int32_t length) {
    int64_t start = int64_t{block} * kBlockBytes;
    return length > 0 && offset >= start && int64_t{offset} + length <= start + kBlockBytes;
  }
  void Retain(int32_t block) { references_[block]++; }
  void Release(int32_t block);
  // The script's handle is dead from here on; its reference passes to the caller.
  void GiveUp(int32_t block) { generations_[block]++; }

private:
  uint8_t *memory_;
  bool poison_;
  int32_t kept_ = 0;
  std::vector<uint32_t> generations_;
  std::vector<uint32_t> references_;
  std::vector<int32_t> free_; // a stack: the block freed last is warm in the cache
};

} // namespace culvert
