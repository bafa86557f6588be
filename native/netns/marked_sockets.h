// The TCP sockets of the calling thread's network namespace that carry a mark, whoever has them, and if nobody has them
// any more: the kernel goes on sending what was written before they were closed.
#pragma once

#include <cstdint>

namespace culvert {

// Those that still exchange data; 0 also where the kernel cannot tell (no inet_diag).
int CountMarkedSockets(uint32_t mark);

} // namespace culvert
