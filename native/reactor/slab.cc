#include "reactor/slab.h"

#include <cstring>
#include <sys/mman.h>

namespace culvert {

// Reserved, not committed: pages that were never needed cost nothing.
Slab::Slab(int32_t blocks, bool poison) : poison_(poison), generations_(blocks, 1), references_(blocks, 0) {
  void *memory = mmap(nullptr, Bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  memory_ = memory == MAP_FAILED ? nullptr : static_cast<uint8_t *>(memory);
  free_.reserve(blocks);
  for (int32_t block = blocks - 1; block >= 0; block--)
    free_.push_back(block);
}

Slab::~Slab() {
  if (memory_ != nullptr) munmap(memory_, Bytes());
}

int32_t Slab::Take() {
  if (free_.empty()) return kNone;
  int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
  return block;
}

void Slab::Release(int32_t block) {
  if (--references_[block] > 0) return;
  if (poison_) memset(At(block), 0xdb, kBlockBytes);
  free_.push_back(block);
}

} // namespace culvert
