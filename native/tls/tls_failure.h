// OpenSSL's reasons as TlsFailure (layout.h): what the script, and in the end a log line, says of a session that
// failed.
#pragma once

#include "reactor/layout.h"

namespace culvert {

// Empties OpenSSL's queue of errors. `verify_result`: SSL_get_verify_result.
TlsFailure TakeTlsFailure(long verify_result);

} // namespace culvert
