// Loads BPF object files into the kernel: all of them, or none. Maps of the same name become one map, which may be
// there already.
#pragma once

#include <cstdint>
#include <linux/bpf.h>
#include <string>
#include <vector>

namespace culvert {

struct LoadedProgram {
  std::string name;
  int fd;
  bpf_attach_type attach_type;
};

struct LoadedMap {
  std::string name;
  int fd;
};

// Owns the descriptors until Release.
class BpfObjects {
public:
  BpfObjects() = default;
  ~BpfObjects();
  BpfObjects(const BpfObjects &) = delete;
  BpfObjects &operator=(const BpfObjects &) = delete;

  // Takes the descriptor over: what is loaded will use this map instead of a new one. Its layout must be the same.
  void Reuse(const std::string &name, int fd) { maps_.push_back({name, fd}); }
  // Returns 0, or an errno; then `Problem` says which object or program, and ends with the verifier's last lines.
  int Load(const std::vector<std::string> &paths);
  const std::string &Problem() const { return problem_; }

  const std::vector<LoadedProgram> &Programs() const { return programs_; }
  const std::vector<LoadedMap> &Maps() const { return maps_; }
  // Gives the descriptors to the caller.
  void Release();

private:
  int LoadOne(const std::string &path);
  int MapNamed(const std::string &name) const;
  void CloseAll();

  std::vector<LoadedProgram> programs_;
  std::vector<LoadedMap> maps_;
  std::string problem_;
};

// What a lookup or update of the map must bring: per-CPU values are those of all CPUs, each rounded up to 8 bytes.
struct MapShape {
  uint32_t key_size;
  uint32_t value_size;
  uint32_t max_entries;
};

// Returns 0 or an errno.
int ShapeOf(int map, MapShape *out);

} // namespace culvert
