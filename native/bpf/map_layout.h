// Describes the maps of BPF objects without loading anything: names, types, sizes, and the fields of keys and values.
// Two sets of objects with the same description can use each other's maps.
#pragma once

#include <string>
#include <vector>

namespace culvert {

// Returns 0 or an errno; then `*problem` says which object. One line per map in `*out`, sorted.
int DescribeMaps(const std::vector<std::string> &paths, std::string *out, std::string *problem);

} // namespace culvert
