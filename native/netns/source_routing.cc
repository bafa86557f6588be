#include "netns/source_routing.h"

#include "netns/rtnetlink.h"

#include <cerrno>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert {
namespace {

constexpr uint32_t kTable = 7733;
// Before all rules but that of the local table: a CNI's may lead everything elsewhere.
constexpr uint32_t kPriority = 1;
constexpr uint32_t kLoopback = 1; // the interface index of lo in every namespace

// The mark of a SYN is the accepted socket's; that of what no socket answers (RST by a closed port) is the answer's.
constexpr const char *kSysctls[] = {
    "/proc/sys/net/ipv4/tcp_fwmark_accept",
    "/proc/sys/net/ipv4/fwmark_reflect",
    "/proc/sys/net/ipv6/fwmark_reflect",
};
constexpr int kSysctlCount = 3;
constexpr uint8_t kFamilies[] = {AF_INET6, AF_INET};
// Protocol numbers from here on: + 1 << i where sysctl i was off. No routing daemon has them (rt_protos of iproute2).
constexpr uint8_t kProtocol = 208;

// /proc/sys/net shows the namespace of the thread that opens it.
int ReadSysctl(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  char digit = 0;
  ssize_t length = read(fd, &digit, 1);
  int error = length == 1 ? 0 : errno;
  close(fd);
  return error != 0 ? -error : digit != '0';
}

int WriteSysctl(const char *path, bool value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = write(fd, value ? "1" : "0", 1) == 1 ? 0 : errno;
  close(fd);
  return error;
}

int CallRule(Rtnetlink &netlink, uint16_t type, uint16_t flags, uint8_t family) {
  fib_rule_hdr header{};
  header.family = family;
  header.action = FR_ACT_TO_TBL;
  RtnetlinkRequest request(type, flags, header);
  request.Add(FRA_PRIORITY, kPriority);
  request.Add(FRA_FWMARK, kSourceMark);
  request.Add(FRA_FWMASK, 0xffffffff);
  request.Add(FRA_TABLE, kTable);
  return netlink.Call(request);
}

int CallRoute(Rtnetlink &netlink, uint16_t type, uint16_t flags, uint8_t family, uint8_t protocol) {
  rtmsg header{};
  header.rtm_family = family;
  header.rtm_table = RT_TABLE_UNSPEC;
  header.rtm_protocol = protocol;
  header.rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_LOCAL;
  RtnetlinkRequest request(type, flags, header);
  request.Add(RTA_TABLE, kTable);
  request.Add(RTA_OIF, kLoopback);
  return netlink.Call(request);
}

int Create(int error) {
  return error == EEXIST ? 0 : error;
}

// What is not there, or cannot be there as the kernel has no such family, needs not be taken away.
int Delete(int error) {
  return error == ENOENT || error == ESRCH || error == EAFNOSUPPORT || error == EOPNOTSUPP ? 0 : error;
}

int Route(Rtnetlink &netlink, bool has_ipv6, const char **what) {
  constexpr uint16_t kNew = NLM_F_CREATE | NLM_F_EXCL;
  uint8_t protocol = kProtocol;
  for (int i = 0; i < kSysctlCount; i++)
    if (ReadSysctl(kSysctls[i]) == 0) protocol = uint8_t(protocol + (1 << i));
  *what = "add a route";
  // First, as it remembers. One that is there already remembers what was before it.
  if (int error = Create(CallRoute(netlink, RTM_NEWROUTE, kNew, AF_INET, protocol))) return error;
  for (int i = 0; i < kSysctlCount; i++) {
    *what = kSysctls[i];
    int error = WriteSysctl(kSysctls[i], true);
    bool is_absent = error == ENOENT && i == 2; // a kernel without IPv6
    if (error != 0 && !is_absent) return error;
  }
  *what = "add a rule";
  if (int error = Create(CallRule(netlink, RTM_NEWRULE, kNew, AF_INET))) return error;
  if (!has_ipv6) return 0;
  *what = "add an IPv6 route";
  if (int error = Create(CallRoute(netlink, RTM_NEWROUTE, kNew, AF_INET6, kProtocol))) return error;
  *what = "add an IPv6 rule";
  return Create(CallRule(netlink, RTM_NEWRULE, kNew, AF_INET6));
}

} // namespace

int RouteSources(bool has_ipv6, const char **what) {
  Rtnetlink netlink;
  int error = Route(netlink, has_ipv6, what);
  const char *ignored;
  if (error != 0) UnrouteSources(&ignored);
  return error;
}

int UnrouteSources(const char **what) {
  Rtnetlink netlink;
  for (uint8_t family : kFamilies) {
    *what = "delete a rule";
    if (int error = Delete(CallRule(netlink, RTM_DELRULE, 0, family))) return error;
  }
  *what = "delete an IPv6 route";
  if (int error = Delete(CallRoute(netlink, RTM_DELROUTE, 0, AF_INET6, kProtocol))) return error;
  for (int off = 0; off < 1 << kSysctlCount; off++) {
    *what = "delete a route";
    int error = CallRoute(netlink, RTM_DELROUTE, 0, AF_INET, uint8_t(kProtocol + off));
    if (Delete(error) != 0) return error;
    if (error != 0) continue;
    for (int i = 0; i < kSysctlCount; i++) {
      *what = kSysctls[i];
      if ((off & (1 << i)) == 0) continue;
      if (int refused = WriteSysctl(kSysctls[i], false)) return refused;
    }
  }
  return 0;
}

} // namespace culvert
