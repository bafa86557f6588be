#include "netns/netns_napi.h"

#include "native_error.h"
#include "netns/marked_sockets.h"
#include "netns/netns_thread.h"
#include "netns/source_routing.h"
#include "netns/tcp_socket.h"

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace culvert {
namespace {

Napi::Value Open(Napi::Env env, const std::string &path) {
  // Whatever stands there: opening a pipe must not wait for somebody to write to it.
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return ThrowSystemError(env, "open", errno, "open network namespace " + path, "is the pod still running?");
  struct stat info {};
  fstat(fd, &info);
  int error = 0;
  bool has_ipv6 = false;
  uint64_t cookie = 0;
  NetnsThread::Instance().Run(fd, [&](int entered) {
    error = entered;
    if (error != 0) return;
    int probe = CreateTcpSocket(AF_INET);
    if (probe < 0) {
      error = -probe;
      return;
    }
    socklen_t length = sizeof(cookie);
    if (getsockopt(probe, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) cookie = 0;
    close(probe);
    // A kernel without IPv6 refuses the socket; a namespace with IPv6 off refuses the address.
    int v6 = CreateTcpListener("::1", 0, 1);
    has_ipv6 = v6 >= 0;
    if (has_ipv6) close(v6);
  });
  if (error != 0) {
    close(fd);
    return ThrowSystemError(env, "setns", error, "enter network namespace " + path,
                            error == EINVAL ? "the path is no network namespace" : "needs CAP_SYS_ADMIN");
  }
  auto reply = Napi::Object::New(env);
  reply.Set("netns", fd);
  reply.Set("cookie", cookie != 0 ? Napi::Value(Napi::BigInt::New(env, cookie)) : env.Undefined());
  reply.Set("inode", Napi::BigInt::New(env, uint64_t{info.st_ino}));
  reply.Set("hasIpv6", has_ipv6);
  return reply;
}

// Replies {fd} with what `create` returned inside the namespace, or throws.
template <typename Create>
Napi::Value CreateInside(Napi::Env env, int netns, const char *syscall, const std::string &what, Create create) {
  int result = -EIO;
  NetnsThread::Instance().Run(netns, [&](int entered) { result = entered != 0 ? -entered : create(); });
  if (result < 0) {
    const char *hint = result == -EADDRINUSE ? "another program listens there; is a second mesh active in this pod?"
                       : result == -EMFILE   ? "raise the limit of open files (ulimit -n)"
                                             : "";
    return ThrowSystemError(env, syscall, -result, what, hint);
  }
  auto reply = Napi::Object::New(env);
  reply.Set("fd", result);
  return reply;
}

template <typename Change> Napi::Value ChangeRouting(Napi::Env env, int netns, Change change) {
  int error = 0;
  const char *what = "enter it";
  NetnsThread::Instance().Run(netns, [&](int entered) { error = entered != 0 ? entered : change(&what); });
  if (error == 0) return env.Undefined();
  return ThrowSystemError(env, "rtnetlink", error,
                          std::string("change the routing of a pod's network namespace: ") + what,
                          "needs CAP_NET_ADMIN, a writable /proc/sys, and routing tables in the kernel");
}

int IntOf(const Napi::Object &request, const char *name) {
  return request.Get(name).ToNumber().Int32Value();
}

} // namespace

Napi::Value NetnsCall(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::string op = info[0].ToString();
  Napi::Object request = info[1].ToObject();
  if (op == "open") return Open(env, request.Get("path").ToString());
  if (op == "listen") {
    std::string address = request.Get("address").ToString();
    int port = IntOf(request, "port");
    int backlog = IntOf(request, "backlog");
    return CreateInside(env, IntOf(request, "netns"), "listen",
                        "listen on " + address + " port " + std::to_string(port),
                        [&] { return CreateTcpListener(address.c_str(), static_cast<uint16_t>(port), backlog); });
  }
  if (op == "socket") {
    int family = IntOf(request, "family") == 6 ? AF_INET6 : AF_INET;
    return CreateInside(env, IntOf(request, "netns"), "socket", "create a socket",
                        [&] { return CreateTcpSocket(family); });
  }
  if (op == "route") {
    bool has_ipv6 = request.Get("hasIpv6").ToBoolean();
    return ChangeRouting(env, IntOf(request, "netns"), [&](const char **what) { return RouteSources(has_ipv6, what); });
  }
  if (op == "routed") {
    int count = 0;
    NetnsThread::Instance().Run(IntOf(request, "netns"), [&](int entered) {
      if (entered == 0) count = CountMarkedSockets(kSourceMark);
    });
    auto reply = Napi::Object::New(env);
    reply.Set("sockets", count);
    return reply;
  }
  if (op == "unroute") return ChangeRouting(env, IntOf(request, "netns"), UnrouteSources);
  if (op == "close") {
    close(IntOf(request, "fd"));
    return env.Undefined();
  }
  return ThrowSystemError(env, "netns", EINVAL, "netns request '" + op + "'", "no such operation");
}

} // namespace culvert
