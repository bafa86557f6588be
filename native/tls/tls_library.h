// Whether this process has the OpenSSL that the addon was built for: Node's own, whose functions its binary exports.
// Linking the distribution's too would run code of one version on structures of another.
#pragma once

#include <string>

namespace culvert {

// Empty, or why TLS cannot run in this process. Calls nothing of OpenSSL but its version.
std::string TlsLibraryProblem();

} // namespace culvert
