#include "netns/rtnetlink.h"

#include <cerrno>
#include <cstring>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert {

void RtnetlinkRequest::Begin(uint16_t type, uint16_t flags, const void *header, size_t bytes) {
  auto *message = reinterpret_cast<nlmsghdr *>(bytes_);
  message->nlmsg_type = type;
  message->nlmsg_flags = uint16_t(NLM_F_REQUEST | NLM_F_ACK | flags);
  memcpy(NLMSG_DATA(message), header, bytes);
  message->nlmsg_len = NLMSG_LENGTH(bytes);
}

void RtnetlinkRequest::Add(uint16_t attribute, uint32_t value) {
  auto *message = reinterpret_cast<nlmsghdr *>(bytes_);
  size_t at = NLMSG_ALIGN(message->nlmsg_len);
  if (at + RTA_SPACE(sizeof(value)) > kMaxBytes) __builtin_trap(); // a request of ours is longer than any of them is
  auto *added = reinterpret_cast<rtattr *>(bytes_ + at);
  added->rta_type = attribute;
  added->rta_len = RTA_LENGTH(sizeof(value));
  memcpy(RTA_DATA(added), &value, sizeof(value));
  message->nlmsg_len = uint32_t(at + RTA_SPACE(sizeof(value)));
}

Rtnetlink::Rtnetlink() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)), error_(fd_ < 0 ? errno : 0) {}

Rtnetlink::~Rtnetlink() {
  if (fd_ >= 0) close(fd_);
}

int Rtnetlink::Call(RtnetlinkRequest &request) {
  if (error_ != 0) return error_;
  auto *message = reinterpret_cast<nlmsghdr *>(request.bytes_);
  if (send(fd_, message, message->nlmsg_len, 0) < 0) return errno;
  // The kernel has answered when send returns: with the error and, after it, the request.
  alignas(nlmsghdr) char answer[RtnetlinkRequest::kMaxBytes + 512];
  ssize_t length;
  do {
    length = recv(fd_, answer, sizeof(answer), 0);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return errno;
  auto *first = reinterpret_cast<nlmsghdr *>(answer);
  if (!NLMSG_OK(first, size_t(length)) || first->nlmsg_type != NLMSG_ERROR) return EPROTO;
  return -static_cast<nlmsgerr *>(NLMSG_DATA(first))->error;
}

} // namespace culvert
