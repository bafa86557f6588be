// The canary: byte `position` of stream `id` is what only that stream has there; its first eight bytes are the id
// itself. And which streams were broken off on purpose: only their ends may miss bytes.
#pragma once

#include "check.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace culvert::driver {

inline constexpr uint64_t kIdBytes = 8;
inline constexpr uint64_t kMaxIds = 16'000'000;

inline uint64_t CanaryWord(uint64_t id, uint64_t index) {
  return index == 0 ? id : Mix(id * 0x9e3779b97f4a7c15 + index);
}

inline void FillCanary(uint8_t *out, size_t length, uint64_t id, uint64_t position) {
  while (length > 0) {
    uint64_t word = CanaryWord(id, position / 8);
    size_t skip = position % 8;
    size_t count = std::min(length, 8 - skip);
    memcpy(out, reinterpret_cast<uint8_t *>(&word) + skip, count);
    out += count, length -= count, position += count;
  }
}

// How many leading bytes are the stream's own.
inline size_t MatchCanary(const uint8_t *bytes, size_t length, uint64_t id, uint64_t position) {
  size_t matched = 0;
  while (matched < length) {
    uint64_t word = CanaryWord(id, (position + matched) / 8);
    size_t skip = (position + matched) % 8;
    size_t count = std::min(length - matched, 8 - skip);
    const uint8_t *expected = reinterpret_cast<uint8_t *>(&word) + skip;
    if (memcmp(bytes + matched, expected, count) == 0) {
      matched += count;
      continue;
    }
    while (bytes[matched] == *expected)
      matched++, expected++;
    return matched;
  }
  return matched;
}

// Follows one stream byte by byte.
struct Follower {
  uint64_t id = 0;
  uint64_t position = 0;

  bool IsKnown() const { return position >= kIdBytes; }
  void Follow(const uint8_t *bytes, size_t length, const char *where) {
    for (; position < kIdBytes && length > 0; position++, bytes++, length--)
      id |= uint64_t{*bytes} << 8 * position;
    if (!IsKnown()) return;
    CHECK(id > 0 && id < kMaxIds, "%s: a stream begins with foreign bytes: %lx", where, id);
    size_t matched = MatchCanary(bytes, length, id, position);
    CHECK(matched == length, "%s: stream %lu: a foreign byte at %lu", where, id, position + matched);
    position += length;
  }
};

inline std::atomic<uint64_t> next_id{1};
inline auto *broken = new std::atomic<uint8_t>[kMaxIds]();
// Streams that someone has said are at their end: only theirs may end cleanly.
inline auto *clean_ends = new std::atomic<uint8_t>[kMaxIds]();
// Reactors that were closed with all they had, and those that are closing now: a stream that one had read nothing of is
// in nobody's books. Whoever ends one counts up `leaving` before and down after, and `exits` in between.
inline std::atomic<uint64_t> exits{0};
inline std::atomic<uint64_t> leaving{0};

inline uint64_t NewId() {
  uint64_t id = next_id++;
  CHECK(id < kMaxIds, "too many streams");
  return id;
}

} // namespace culvert::driver
