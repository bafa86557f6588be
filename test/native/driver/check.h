// What must hold, and the random numbers that choose what happens. A failed check says the seed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace culvert::driver {

inline uint64_t seed = 1;

#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "FAILED (seed %lu) %s:%d: %s: ", ::culvert::driver::seed, __FILE__, __LINE__, #condition);       \
      fprintf(stderr, __VA_ARGS__);                                                                                    \
      fprintf(stderr, "\n");                                                                                           \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

// splitmix64
inline uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

class Random {
public:
  explicit Random(uint64_t start) : state_(Mix(start)) {}
  uint32_t Below(uint32_t n) { return uint32_t((Next() >> 32) * n >> 32); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }

private:
  uint64_t Next() { return Mix(state_ += 0x9e3779b97f4a7c15); }
  uint64_t state_;
};

} // namespace culvert::driver
