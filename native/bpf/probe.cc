#include "bpf/probe.h"

#include "native_error.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <cerrno>
#include <cstring>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert {
namespace {

// What the kernel answered: a new descriptor, or 0 where none is made, or -errno.
using Outcome = int;

uint32_t NumberOf(const Napi::Object &request, const char *name) {
  return request.Has(name) ? request.Get(name).ToNumber().Uint32Value() : 0;
}

Outcome TryProgram(const Napi::Object &request) {
  auto code = request.Get("instructions").As<Napi::Uint8Array>();
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  options.expected_attach_type = static_cast<bpf_attach_type>(NumberOf(request, "attachType"));
  int fd =
      bpf_prog_load(static_cast<bpf_prog_type>(NumberOf(request, "programType")), "culvert_probe", "Apache-2.0",
                    reinterpret_cast<const bpf_insn *>(code.Data()), code.ByteLength() / sizeof(bpf_insn), &options);
  return fd < 0 ? -errno : fd;
}

// Storage that is kept with sockets wants to be told the types of key and value: a blob that holds nothing but `int`.
int LoadIntType() {
  struct {
    btf_header header;
    btf_type integer;
    uint32_t encoding;
    char strings[5];
  } blob{};
  static_assert(sizeof(blob) == sizeof(btf_header) + 16 + 8);
  blob.header.magic = 0xeb9f;
  blob.header.version = 1;
  blob.header.hdr_len = sizeof(btf_header);
  blob.header.type_len = 16;
  blob.header.str_off = 16;
  blob.header.str_len = sizeof(blob.strings);
  blob.integer.name_off = 1;
  blob.integer.info = BTF_KIND_INT << 24;
  blob.integer.size = 4;
  blob.encoding = BTF_INT_SIGNED << 24 | 32;
  memcpy(blob.strings + 1, "int", 3);
  uint32_t length = sizeof(btf_header) + 16 + sizeof(blob.strings);
  int fd = bpf_btf_load(&blob, length, nullptr);
  return fd < 0 ? -errno : fd;
}

Outcome TryMap(const Napi::Object &request) {
  auto type = static_cast<bpf_map_type>(NumberOf(request, "mapType"));
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.map_flags = NumberOf(request, "flags");
  int types = -1;
  if (type == BPF_MAP_TYPE_SK_STORAGE) {
    types = LoadIntType();
    if (types < 0) return types;
    options.btf_fd = static_cast<uint32_t>(types);
    options.btf_key_type_id = 1;
    options.btf_value_type_id = 1;
  }
  int fd = bpf_map_create(type, "culvert_probe", NumberOf(request, "keySize"), NumberOf(request, "valueSize"),
                          NumberOf(request, "maxEntries"), &options);
  Outcome outcome = fd < 0 ? -errno : fd;
  if (types >= 0) close(types);
  return outcome;
}

// To nowhere, so that nothing is attached: a kernel that can looks at the target and says EBADF.
Outcome TryLink(const Napi::Object &request) {
  auto type = static_cast<bpf_attach_type>(NumberOf(request, "attachType"));
  int fd = bpf_link_create(static_cast<int>(NumberOf(request, "program")), -1, type, nullptr);
  return fd < 0 ? -errno : fd;
}

Outcome TryLinkUpdate(const Napi::Object &request) {
  return bpf_link_update(-1, static_cast<int>(NumberOf(request, "program")), nullptr) == 0 ? 0 : -errno;
}

// A listener of our own on loopback, asked to be destroyed: of a socket that does not exist, a kernel that cannot
// destroy any says the same as one that can.
int OwnListener(sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  *address = sockaddr_in{};
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(*address);
  auto *generic = reinterpret_cast<sockaddr *>(address);
  if (bind(fd, generic, length) == 0 && listen(fd, 1) == 0 && getsockname(fd, generic, &length) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}

Outcome AskToDestroy(int netlink, const sockaddr_in &address) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof(message);
  message.header.nlmsg_type = SOCK_DESTROY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  message.request.sdiag_family = AF_INET;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.id.idiag_src[0] = address.sin_addr.s_addr;
  message.request.id.idiag_sport = address.sin_port;
  message.request.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  message.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (send(netlink, &message, sizeof(message), 0) < 0) return -errno;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    nlmsghdr echoed[8];
  } reply{};
  if (recv(netlink, &reply, sizeof(reply), 0) < 0) return -errno;
  return reply.header.nlmsg_type == NLMSG_ERROR ? reply.error.error : -EPROTO;
}

Outcome TryDestroySocket(const Napi::Object &) {
  int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (netlink < 0) return -errno;
  sockaddr_in address{};
  int listener = OwnListener(&address);
  Outcome outcome = listener < 0 ? listener : AskToDestroy(netlink, address);
  if (listener >= 0) close(listener);
  close(netlink);
  return outcome;
}

Outcome (*TrialNamed(const std::string &trial))(const Napi::Object &) {
  if (trial == "program") return TryProgram;
  if (trial == "map") return TryMap;
  if (trial == "link") return TryLink;
  if (trial == "linkUpdate") return TryLinkUpdate;
  if (trial == "destroySocket") return TryDestroySocket;
  return nullptr;
}

} // namespace

Napi::Value BpfProbe(const Napi::Env &env, const Napi::Object &request) {
  std::string trial = request.Get("trial").ToString();
  auto run = TrialNamed(trial);
  if (run == nullptr) return ThrowSystemError(env, "bpf", EINVAL, "probe '" + trial + "'", "no such trial");
  Outcome outcome = run(request);
  auto reply = Napi::Object::New(env);
  reply.Set("fd", outcome > 0 ? Napi::Value(Napi::Number::New(env, outcome)) : env.Undefined());
  reply.Set("errno", outcome < 0 ? Napi::Value(Napi::String::New(env, strerrorname_np(-outcome))) : env.Undefined());
  return reply;
}

} // namespace culvert
