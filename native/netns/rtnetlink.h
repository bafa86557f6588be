// Requests to the routing of the calling thread's network namespace, one at a time, each answered before the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <linux/netlink.h>

namespace culvert {

// A request being written: netlink header, a header of the request's own kind, attributes of 32 bits.
class RtnetlinkRequest {
public:
  template <typename Header> RtnetlinkRequest(uint16_t type, uint16_t flags, const Header &header) {
    Begin(type, flags, &header, sizeof(header));
  }
  void Add(uint16_t attribute, uint32_t value);

private:
  friend class Rtnetlink;
  static constexpr size_t kMaxBytes = 256;

  void Begin(uint16_t type, uint16_t flags, const void *header, size_t bytes);

  alignas(nlmsghdr) char bytes_[kMaxBytes] = {};
};

class Rtnetlink {
public:
  Rtnetlink();
  ~Rtnetlink();
  Rtnetlink(const Rtnetlink &) = delete;
  Rtnetlink &operator=(const Rtnetlink &) = delete;

  // 0, or the errno with which the kernel refused it.
  int Call(RtnetlinkRequest &request);

private:
  int fd_;
  int error_;
};

} // namespace culvert
