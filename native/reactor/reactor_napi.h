#pragma once

#include <napi.h>

namespace culvert {

// The class `Reactor`: see NativeReactor in src/runtime/native.ts.
Napi::Function DefineReactor(Napi::Env env);

} // namespace culvert
