// The addon's `bpf("probe", request)`: tries one thing of the kernel and tells what the kernel said.
// src/kernel/probes.ts knows what to try and what the answer means.
#pragma once

#include <napi.h>

namespace culvert {

Napi::Value BpfProbe(const Napi::Env &env, const Napi::Object &request);

} // namespace culvert
