// The addon's `bpf(op, request)`: src/runtime/native.ts says what each operation takes and answers.
#pragma once

#include <napi.h>

namespace culvert {

Napi::Value BpfCall(const Napi::CallbackInfo &info);
// The addon's `beat(worker)`: the worker's loop runs.
Napi::Value Beat(const Napi::CallbackInfo &info);

} // namespace culvert
