#include "bpf/bpf_objects.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <unistd.h>

namespace culvert {
namespace {

// libbpf tells why a load failed only through its print callback. One load at a time per thread fills this.
thread_local std::string load_log;

int CollectLog(libbpf_print_level level, const char *format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  // A verifier log can be 16 MiB; its end is what matters, and libbpf prints it in one call.
  va_list copy;
  va_copy(copy, arguments);
  int length = vsnprintf(nullptr, 0, format, copy);
  va_end(copy);
  if (length <= 0) return 0;
  size_t before = load_log.size();
  load_log.resize(before + static_cast<size_t>(length) + 1);
  vsnprintf(load_log.data() + before, static_cast<size_t>(length) + 1, format, arguments);
  load_log.resize(before + static_cast<size_t>(length));
  return 0;
}

bool StartsWith(const std::string &line, const char *prefix) {
  return line.compare(0, strlen(prefix), prefix) == 0;
}

// The last lines that say something: those before the statistics with which a verifier log ends.
std::string LastUsefulLines() {
  constexpr size_t kLines = 4;
  std::deque<std::string> lines;
  size_t begin = 0;
  while (begin < load_log.size()) {
    size_t end = load_log.find('\n', begin);
    if (end == std::string::npos) end = load_log.size();
    std::string line = load_log.substr(begin, end - begin);
    begin = end + 1;
    if (StartsWith(line, "libbpf: ")) line.erase(0, 8);
    if (line.empty() || StartsWith(line, "processed ") || line.find("-- END PROG LOAD LOG --") != std::string::npos ||
        StartsWith(line, "failed to load object"))
      continue;
    // Statistics follow; what libbpf says after them only repeats the error.
    if (line.find("failed to load: ") != std::string::npos && lines.size() >= kLines) continue;
    lines.push_back(line);
    if (lines.size() > kLines) lines.pop_front();
  }
  std::string joined;
  for (const auto &line : lines)
    joined += (joined.empty() ? "" : " | ") + line;
  return joined;
}

// Kernels that cannot set the errno of a refused connect (bpf_set_retval, 6.1) refuse the whole program instead: there
// the call becomes `r0 = 0`. Returns 0 or an errno.
int LeaveOutSetRetval(bpf_object *object) {
  static const bool is_there =
      libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1;
  if (is_there) return 0;
  bpf_program *program;
  bpf_object__for_each_program(program, object) {
    const bpf_insn *code = bpf_program__insns(program);
    std::vector<bpf_insn> patched(code, code + bpf_program__insn_cnt(program));
    for (bpf_insn &instruction : patched)
      if (instruction.code == (BPF_JMP | BPF_CALL) && instruction.src_reg == 0 &&
          instruction.imm == BPF_FUNC_set_retval)
        instruction = {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
    if (int error = -bpf_program__set_insns(program, patched.data(), patched.size()); error != 0) return error;
  }
  return 0;
}

} // namespace

BpfObjects::~BpfObjects() {
  CloseAll();
}

void BpfObjects::CloseAll() {
  for (const auto &program : programs_)
    close(program.fd);
  for (const auto &map : maps_)
    close(map.fd);
  Release();
}

void BpfObjects::Release() {
  programs_.clear();
  maps_.clear();
}

int BpfObjects::MapNamed(const std::string &name) const {
  for (const auto &map : maps_)
    if (map.name == name) return map.fd;
  return -1;
}

int BpfObjects::Load(const std::vector<std::string> &paths) {
  libbpf_set_print(CollectLog);
  int error = 0;
  for (const auto &path : paths) {
    load_log.clear();
    error = LoadOne(path);
    if (error == 0) continue;
    problem_ = "load BPF object " + path;
    std::string lines = LastUsefulLines();
    if (!lines.empty()) problem_ += " (" + lines + ")";
    CloseAll();
    break;
  }
  load_log = std::string();
  return error;
}

int BpfObjects::LoadOne(const std::string &path) {
  bpf_object *object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) return errno;
  int error = 0;
  bpf_map *map;
  bpf_object__for_each_map(map, object) {
    int shared = MapNamed(bpf_map__name(map));
    if (shared >= 0 && error == 0) error = -bpf_map__reuse_fd(map, shared);
  }
  if (error == 0) error = LeaveOutSetRetval(object);
  if (error == 0) error = -bpf_object__load(object);
  // The object closes its own descriptors, so the ones kept are duplicates.
  bpf_object__for_each_map(map, object) {
    if (error != 0) break;
    if (MapNamed(bpf_map__name(map)) >= 0) continue;
    int fd = fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
      error = errno;
    else
      maps_.push_back({bpf_map__name(map), fd});
  }
  bpf_program *program;
  bpf_object__for_each_program(program, object) {
    if (error != 0) break;
    int fd = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
      error = errno;
    else
      programs_.push_back({bpf_program__name(program), fd, bpf_program__expected_attach_type(program)});
  }
  bpf_object__close(object);
  return error;
}

int ShapeOf(int map, MapShape *out) {
  bpf_map_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map, &info, &length) != 0) return errno;
  bool is_per_cpu = info.type == BPF_MAP_TYPE_PERCPU_HASH || info.type == BPF_MAP_TYPE_PERCPU_ARRAY ||
                    info.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
  out->key_size = info.key_size;
  out->value_size = info.value_size;
  out->max_entries = info.max_entries;
  if (!is_per_cpu) return 0;
  int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return -cpus;
  out->value_size = (info.value_size + 7) / 8 * 8 * static_cast<uint32_t>(cpus);
  return 0;
}

} // namespace culvert
