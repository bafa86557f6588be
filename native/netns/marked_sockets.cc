#include "netns/marked_sockets.h"

#include <cerrno>
#include <cstring>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert {
namespace {

// Of all states but those in which nothing more is sent or awaited.
constexpr uint32_t kStates = 0xfff & ~(1u << TCP_TIME_WAIT | 1u << TCP_CLOSE | 1u << TCP_LISTEN);

bool HasMark(const nlmsghdr *message, uint32_t mark) {
  auto *socket = static_cast<const inet_diag_msg *>(NLMSG_DATA(message));
  auto length = int(message->nlmsg_len - NLMSG_LENGTH(sizeof(*socket)));
  for (auto *attribute = reinterpret_cast<const rtattr *>(socket + 1); RTA_OK(attribute, length);
       attribute = RTA_NEXT(attribute, length)) {
    if (attribute->rta_type != INET_DIAG_MARK) continue;
    uint32_t value;
    memcpy(&value, RTA_DATA(attribute), sizeof(value));
    return value == mark;
  }
  return false;
}

int CountOfFamily(int netlink, uint8_t family, uint32_t mark) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 wanted;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.wanted.sdiag_family = family;
  request.wanted.sdiag_protocol = IPPROTO_TCP;
  request.wanted.idiag_states = kStates;
  if (send(netlink, &request, sizeof(request), 0) < 0) return 0;
  int count = 0;
  alignas(nlmsghdr) static char answer[32 * 1024]; // of the one netns thread
  for (;;) {
    ssize_t bytes = recv(netlink, answer, sizeof(answer), 0);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return count;
    auto length = unsigned(bytes);
    for (auto *message = reinterpret_cast<nlmsghdr *>(answer); NLMSG_OK(message, length);
         message = NLMSG_NEXT(message, length)) {
      if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) return count;
      if (HasMark(message, mark)) count++;
    }
  }
}

} // namespace

int CountMarkedSockets(uint32_t mark) {
  int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (netlink < 0) return 0;
  int count = CountOfFamily(netlink, AF_INET, mark) + CountOfFamily(netlink, AF_INET6, mark);
  close(netlink);
  return count;
}

} // namespace culvert
