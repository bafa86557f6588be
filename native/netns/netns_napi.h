#pragma once

#include <napi.h>

namespace culvert {

// netns(op, request): see NetnsRequests in src/runtime/native.ts.
Napi::Value NetnsCall(const Napi::CallbackInfo &info);

} // namespace culvert
