// Whether one of the proxy's own connections arrived under the tuple with which it was made: sk_lookup in the pod where
// it arrives says so in the record that sockops made of it (bpf/structs.h).
#pragma once

#include "reactor/layout.h"

namespace culvert {

// Of a connected socket.
Passage PassageOf(int bypass_map, int fd);

} // namespace culvert
