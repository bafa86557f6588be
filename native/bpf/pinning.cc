#include "bpf/pinning.h"

#include "bpf/bpf_objects.h"
#include "native_error.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <fcntl.h>
#include <linux/magic.h>
#include <string>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace culvert {
namespace {

int FdOf(const Napi::Object &request, const char *name) {
  return request.Get(name).ToNumber().Int32Value();
}

int OpenDirectory(const std::string &path) {
  return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool IsBpffs(const std::string &path) {
  struct statfs info {};
  return statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

} // namespace

Napi::Value PinObject(const Napi::Env &env, const Napi::Object &request) {
  std::string path = request.Get("path").ToString();
  if (bpf_obj_pin(FdOf(request, "fd"), path.c_str()) == 0) return env.Undefined();
  return ThrowSystemError(env, "bpf", errno, "pin a BPF object at " + path,
                          errno == EPERM ? "needs CAP_BPF, and a bpf file system" : "");
}

Napi::Value GetPinned(const Napi::Env &env, const Napi::Object &request) {
  std::string path = request.Get("path").ToString();
  int fd = bpf_obj_get(path.c_str());
  if (fd < 0 && errno != ENOENT) return ThrowSystemError(env, "bpf", errno, "open the BPF object pinned at " + path);
  auto reply = Napi::Object::New(env);
  reply.Set("fd", fd < 0 ? env.Undefined() : Napi::Value(Napi::Number::New(env, fd)));
  return reply;
}

Napi::Value GetMapInfo(const Napi::Env &env, const Napi::Object &request) {
  int fd = FdOf(request, "map");
  MapShape shape{};
  if (int error = ShapeOf(fd, &shape); error != 0)
    return ThrowSystemError(env, "bpf", error, "ask for the size of a BPF map");
  auto reply = Napi::Object::New(env);
  reply.Set("fd", fd);
  reply.Set("keySize", shape.key_size);
  reply.Set("valueSize", shape.value_size);
  reply.Set("maxEntries", shape.max_entries);
  return reply;
}

Napi::Value UpdateLink(const Napi::Env &env, const Napi::Object &request) {
  if (bpf_link_update(FdOf(request, "link"), FdOf(request, "program"), nullptr) == 0) return env.Undefined();
  return ThrowSystemError(env, "bpf", errno, "replace the program of a BPF link",
                          errno == ENOLINK ? "what it was attached to is gone" : "");
}

// The target is 0 where it is gone; undefined for kinds of links that are none of ours.
Napi::Value GetLinkInfo(const Napi::Env &env, const Napi::Object &request) {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(FdOf(request, "link"), &info, &length) != 0)
    return ThrowSystemError(env, "bpf", errno, "ask what a BPF link is attached to");
  Napi::Value target = env.Undefined();
  if (info.type == BPF_LINK_TYPE_CGROUP) target = Napi::BigInt::New(env, uint64_t{info.cgroup.cgroup_id});
  if (info.type == BPF_LINK_TYPE_NETNS) target = Napi::BigInt::New(env, uint64_t{info.netns.netns_ino});
  auto reply = Napi::Object::New(env);
  reply.Set("id", info.id);
  reply.Set("program", info.prog_id);
  reply.Set("target", target);
  return reply;
}

// Under a lock on what is there before: two processes that mounted at once would hide each other's pins.
Napi::Value MountBpffs(const Napi::Env &env, const Napi::Object &request) {
  std::string path = request.Get("path").ToString();
  int directory = OpenDirectory(path);
  if (directory < 0) return ThrowSystemError(env, "open", errno, "mount a bpf file system at " + path);
  int error = flock(directory, LOCK_EX) == 0 ? 0 : errno;
  if (error == 0 && !IsBpffs(path) && mount("bpf", path.c_str(), "bpf", 0, "mode=0700") != 0) error = errno;
  close(directory);
  if (error == 0) return env.Undefined();
  return ThrowSystemError(env, "mount", error, "mount a bpf file system at " + path,
                          "needs CAP_SYS_ADMIN; or mount it beforehand: mount -t bpf bpf " + path);
}

Napi::Value LockDirectory(const Napi::Env &env, const Napi::Object &request) {
  std::string path = request.Get("path").ToString();
  int directory = OpenDirectory(path);
  if (directory < 0) return ThrowSystemError(env, "open", errno, "lock " + path);
  auto reply = Napi::Object::New(env);
  if (flock(directory, LOCK_EX | LOCK_NB) == 0) {
    reply.Set("lock", directory);
    return reply;
  }
  int error = errno;
  close(directory);
  if (error != EWOULDBLOCK) return ThrowSystemError(env, "flock", error, "lock " + path);
  reply.Set("lock", env.Undefined());
  return reply;
}

} // namespace culvert
