// The addon's `bpf(op, request)`: src/runtime/native.ts says what each operation takes and answers.
#pragma once

#include <napi.h>

namespace culvert {

Napi::Value BpfCall(const Napi::CallbackInfo &info);

} // namespace culvert
