#include "bpf/map_layout.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <set>

namespace culvert {
namespace {

std::string NameOf(const btf *types, const btf_type *type) {
  const char *name = btf__name_by_offset(types, type->name_off);
  return name == nullptr ? "" : name;
}

// Names of types and fields are part of it: whoever changes what a field means renames it.
std::string Describe(const btf *types, uint32_t id) {
  const btf_type *type = btf__type_by_id(types, id);
  if (id == 0 || type == nullptr) return "-";
  std::string name = NameOf(types, type);
  if (btf_is_mod(type)) return Describe(types, type->type);
  if (btf_is_typedef(type)) return name + "=" + Describe(types, type->type);
  if (btf_is_array(type)) {
    const struct btf_array *array = btf_array(type);
    return Describe(types, array->type) + "[" + std::to_string(array->nelems) + "]";
  }
  if (!btf_is_composite(type)) return name + ":" + std::to_string(type->size);
  std::string fields;
  const btf_member *members = btf_members(type);
  for (uint32_t i = 0; i < btf_vlen(type); i++) {
    const char *field = btf__name_by_offset(types, members[i].name_off);
    fields += std::string(field) + "@" + std::to_string(btf_member_bit_offset(type, i)) + " " +
              Describe(types, members[i].type) + ";";
  }
  return name + "{" + fields + "}:" + std::to_string(type->size);
}

} // namespace

int DescribeMaps(const std::vector<std::string> &paths, std::string *out, std::string *problem) {
  std::set<std::string> lines;
  for (const auto &path : paths) {
    bpf_object *object = bpf_object__open_file(path.c_str(), nullptr);
    if (object == nullptr) {
      *problem = "open BPF object " + path;
      return errno;
    }
    const btf *types = bpf_object__btf(object);
    const bpf_map *map;
    bpf_object__for_each_map(map, object) {
      lines.insert(std::string(bpf_map__name(map)) + " type " + std::to_string(bpf_map__type(map)) + " flags " +
                   std::to_string(bpf_map__map_flags(map)) + " entries " + std::to_string(bpf_map__max_entries(map)) +
                   " " + std::to_string(bpf_map__key_size(map)) + " " + std::to_string(bpf_map__value_size(map)) + " " +
                   Describe(types, bpf_map__btf_key_type_id(map)) + " " +
                   Describe(types, bpf_map__btf_value_type_id(map)) + "\n");
    }
    bpf_object__close(object);
  }
  for (const auto &line : lines)
    *out += line;
  return 0;
}

} // namespace culvert
