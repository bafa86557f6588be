#pragma once

#include <napi.h>

namespace culvert {

// What src/runtime/native.ts documents as setTlsContext and removeTlsContext.
Napi::Value SetTlsContext(const Napi::CallbackInfo &info);
Napi::Value RemoveTlsContext(const Napi::CallbackInfo &info);

} // namespace culvert
