// Lets a connection that the proxy makes inside a pod, bound to a client's address, come back to the proxy: what
// carries the mark is delivered to this namespace itself, whatever its destination. In each family one rule (mark →
// table) and one route (everything is local); and the applications' side of such a connection gets the mark by sysctl.
//
// What the sysctls were is remembered in the namespace, by the IPv4 route's protocol number: so whoever takes all this
// away, in whatever process and after whatever crash, restores them.
#pragma once

#include <cstdint>

namespace culvert {

// src/runtime/layout.ts has the same, for the sockets.
inline constexpr uint32_t kSourceMark = 0x6d58;

// Of the calling thread's namespace. Doing it twice is no different from doing it once; whole or not at all. Returns 0
// or the errno of what was refused, and says in `what` what that was.
int RouteSources(bool has_ipv6, const char **what);

// Takes away what RouteSources left here, if anything.
int UnrouteSources(const char **what);

} // namespace culvert
