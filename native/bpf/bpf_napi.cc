#include "bpf/bpf_napi.h"

#include "bpf/bpf_objects.h"
#include "bpf/heartbeats.h"
#include "bpf/map_layout.h"
#include "bpf/pinning.h"
#include "bpf/probe.h"
#include "native_error.h"
#include "reactor/inbox.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <time.h>
#include <unistd.h>
#include <unordered_map>
#include <vector>

namespace culvert {
namespace {

// The kernel tells a program's type but not its expected attach type, which attaching needs: remembered from the load.
std::mutex attach_types_mutex;
std::unordered_map<int, bpf_attach_type> attach_types;

const char *HintFor(int error) {
  if (error == EPERM) return "needs CAP_BPF and CAP_NET_ADMIN (or root)";
  if (error == EACCES) return "this kernel's verifier refuses a program: please report it with the output of uname -r";
  if (error == EBADF) return "the target is neither a cgroup2 directory nor a network namespace";
  if (error == ENOENT) return "is the path right, and was it built (npm run setup)?";
  if (error == EINVAL || error == ENOTSUP) return "needs a kernel of at least 5.10 with CONFIG_CGROUP_BPF";
  return "";
}

int FdOf(const Napi::Object &request, const char *name) {
  return request.Has(name) ? request.Get(name).ToNumber().Int32Value() : -1;
}

std::vector<std::string> ObjectsOf(const Napi::Object &request) {
  std::vector<std::string> paths;
  auto list = request.Get("objects").As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++)
    paths.push_back(list.Get(i).ToString());
  return paths;
}

Napi::Value DescribeLayout(const Napi::Env &env, const Napi::Object &request) {
  std::string description, problem;
  if (int error = DescribeMaps(ObjectsOf(request), &description, &problem); error != 0)
    return ThrowSystemError(env, "bpf", error, problem, HintFor(error));
  auto reply = Napi::Object::New(env);
  reply.Set("description", description);
  return reply;
}

Napi::Value Load(Napi::Env env, const Napi::Object &request) {
  std::vector<std::string> paths = ObjectsOf(request);
  BpfObjects objects;
  auto reused = request.Has("reuse") ? request.Get("reuse").ToObject() : Napi::Object::New(env);
  auto names = reused.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    std::string name = names.Get(i).ToString();
    objects.Reuse(name, FdOf(reused, name.c_str()));
  }
  if (int error = objects.Load(paths); error != 0)
    return ThrowSystemError(env, "bpf", error, objects.Problem(), HintFor(error));

  auto maps = Napi::Object::New(env);
  for (const auto &map : objects.Maps()) {
    MapShape shape{};
    if (int error = ShapeOf(map.fd, &shape); error != 0)
      return ThrowSystemError(env, "bpf", error, "ask for the size of BPF map " + map.name);
    auto info = Napi::Object::New(env);
    info.Set("fd", map.fd);
    info.Set("keySize", shape.key_size);
    info.Set("valueSize", shape.value_size);
    info.Set("maxEntries", shape.max_entries);
    maps.Set(map.name, info);
  }
  auto programs = Napi::Object::New(env);
  std::lock_guard lock(attach_types_mutex);
  for (const auto &program : objects.Programs()) {
    programs.Set(program.name, program.fd);
    attach_types[program.fd] = program.attach_type;
  }
  objects.Release();
  auto reply = Napi::Object::New(env);
  reply.Set("programs", programs);
  reply.Set("maps", maps);
  return reply;
}

Napi::Value Attach(Napi::Env env, int program, int target, const std::string &what) {
  bpf_attach_type type;
  {
    std::lock_guard lock(attach_types_mutex);
    auto found = attach_types.find(program);
    if (found == attach_types.end()) return ThrowSystemError(env, "bpf", EBADF, what, "no program of ours");
    type = found->second;
  }
  int link = bpf_link_create(program, target, type, nullptr);
  if (link < 0) return ThrowSystemError(env, "bpf", errno, what, HintFor(errno));
  auto reply = Napi::Object::New(env);
  reply.Set("link", link);
  return reply;
}

Napi::Value AttachCgroup(Napi::Env env, const Napi::Object &request) {
  std::string path = request.Get("cgroupPath").ToString();
  std::string what = "attach a BPF program to cgroup " + path;
  int cgroup = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (cgroup < 0) return ThrowSystemError(env, "open", errno, what, "it must be a directory of a cgroup2 file system");
  Napi::Value reply = Attach(env, FdOf(request, "program"), cgroup, what);
  close(cgroup);
  return reply;
}

// A key or value of the size that the kernel will read, or throws and returns null.
const uint8_t *BytesOf(const Napi::Object &request, const char *name, uint32_t size) {
  Napi::Value bytes = request.Get(name);
  if (bytes.IsTypedArray() && bytes.As<Napi::TypedArray>().ByteLength() == size)
    return bytes.As<Napi::Uint8Array>().Data();
  ThrowSystemError(request.Env(), "bpf", EINVAL, std::string("use a BPF map with this ") + name,
                   "it must be a Uint8Array of " + std::to_string(size) + " bytes");
  return nullptr;
}

Napi::Value MapUpdate(Napi::Env env, const Napi::Object &request, int map, const MapShape &shape) {
  const uint8_t *key = BytesOf(request, "key", shape.key_size);
  const uint8_t *value = key == nullptr ? nullptr : BytesOf(request, "value", shape.value_size);
  if (value == nullptr || bpf_map_update_elem(map, key, value, BPF_ANY) == 0) return env.Undefined();
  return ThrowSystemError(env, "bpf", errno, "write to a BPF map of " + std::to_string(shape.max_entries) + " entries",
                          errno == E2BIG ? "it is full" : HintFor(errno));
}

Napi::Value MapDelete(Napi::Env env, const Napi::Object &request, int map, const MapShape &shape) {
  const uint8_t *key = BytesOf(request, "key", shape.key_size);
  // EINVAL: how a SOCKMAP before 6.x says that the slot is empty.
  if (key == nullptr || bpf_map_delete_elem(map, key) == 0 || errno == ENOENT || errno == EINVAL)
    return env.Undefined();
  return ThrowSystemError(env, "bpf", errno, "delete from a BPF map", HintFor(errno));
}

Napi::Value MapLookup(Napi::Env env, const Napi::Object &request, int map, const MapShape &shape) {
  const uint8_t *key = BytesOf(request, "key", shape.key_size);
  if (key == nullptr) return env.Undefined();
  if (FdOf(request, "valueSize") != static_cast<int>(shape.value_size))
    return ThrowSystemError(env, "bpf", EINVAL, "read from a BPF map",
                            "its values have " + std::to_string(shape.value_size) + " bytes");
  auto value = Napi::Uint8Array::New(env, shape.value_size);
  auto reply = Napi::Object::New(env);
  if (bpf_map_lookup_elem(map, key, value.Data()) == 0) {
    reply.Set("value", value);
    return reply;
  }
  if (errno != ENOENT) return ThrowSystemError(env, "bpf", errno, "read from a BPF map", HintFor(errno));
  reply.Set("value", env.Undefined());
  return reply;
}

Napi::Value MapKeys(Napi::Env env, const Napi::Object &, int map, const MapShape &shape) {
  std::vector<uint8_t> keys;
  std::vector<uint8_t> key(shape.key_size);
  const uint8_t *previous = nullptr;
  // Bounded: where others write at the same time, the walk may start again at the first key.
  for (uint32_t i = 0; i < shape.max_entries; i++) {
    if (bpf_map_get_next_key(map, previous, key.data()) != 0) {
      if (errno == ENOENT) break;
      return ThrowSystemError(env, "bpf", errno, "list the keys of a BPF map", HintFor(errno));
    }
    keys.insert(keys.end(), key.begin(), key.end());
    previous = key.data();
  }
  auto reply = Napi::Object::New(env);
  auto bytes = Napi::Uint8Array::New(env, keys.size());
  memcpy(bytes.Data(), keys.data(), keys.size());
  reply.Set("keys", bytes);
  return reply;
}

using Operation = Napi::Value (*)(const Napi::Env &, const Napi::Object &);

Operation OperationNamed(const std::string &op) {
  if (op == "layout") return DescribeLayout;
  if (op == "probe") return BpfProbe;
  if (op == "pin") return PinObject;
  if (op == "getPinned") return GetPinned;
  if (op == "mapInfo") return GetMapInfo;
  if (op == "linkUpdate") return UpdateLink;
  if (op == "linkInfo") return GetLinkInfo;
  if (op == "mountBpffs") return MountBpffs;
  if (op == "lock") return LockDirectory;
  return nullptr;
}

Napi::Value MapHeartbeats(Napi::Env env, const Napi::Object &, int map, const MapShape &shape) {
  int error = shape.value_size == Heartbeats::kSlots * sizeof(uint64_t) ? Heartbeats::Instance().Map(map) : EINVAL;
  if (error == 0) return env.Undefined();
  return ThrowSystemError(env, "mmap", error, "map the workers' heartbeats", HintFor(error));
}

using MapOperation = Napi::Value (*)(Napi::Env, const Napi::Object &, int map, const MapShape &);

MapOperation MapOperationNamed(const std::string &op) {
  if (op == "mapUpdate") return MapUpdate;
  if (op == "mapDelete") return MapDelete;
  if (op == "mapLookup") return MapLookup;
  if (op == "mapKeys") return MapKeys;
  if (op == "mapHeartbeats") return MapHeartbeats;
  return nullptr;
}

} // namespace

Napi::Value BpfCall(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  std::string op = info[0].ToString();
  Napi::Object request = info[1].ToObject();
  if (op == "load") return Load(env, request);
  if (op == "attachCgroup") return AttachCgroup(env, request);
  if (op == "attachNetns")
    return Attach(env, FdOf(request, "program"), FdOf(request, "netns"), "attach a BPF program to a network namespace");
  if (Operation operation = OperationNamed(op); operation != nullptr) return operation(env, request);
  if (op == "unmapHeartbeats") {
    Heartbeats::Instance().Unmap();
    return env.Undefined();
  }
  MapOperation operation = MapOperationNamed(op);
  if (operation == nullptr)
    return ThrowSystemError(env, "bpf", EINVAL, "bpf request '" + op + "'", "no such operation");
  int map = FdOf(request, "map");
  MapShape shape{};
  if (int error = ShapeOf(map, &shape); error != 0) return ThrowSystemError(env, "bpf", error, "use a BPF map");
  return operation(env, request, map, shape);
}

Napi::Value Beat(const Napi::CallbackInfo &info) {
  int worker = info[0].ToNumber().Int32Value();
  if (worker < 0 || worker >= Heartbeats::kSlots)
    return ThrowSystemError(info.Env(), "beat", EINVAL, "beat for worker " + std::to_string(worker),
                            "there are at most " + std::to_string(Heartbeats::kSlots));
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t now_ns = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  Heartbeats::Instance().Beat(worker, now_ns);
  WorkerTable::Instance().Beat(worker, now_ns);
  return info.Env().Undefined();
}

} // namespace culvert
