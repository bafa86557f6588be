// The addon's `bpf` operations on what outlives this process: pinned objects, links, the file system they are pinned
// in, and the lock that says whose they are. src/runtime/native.ts says what each takes and answers.
#pragma once

#include <napi.h>

namespace culvert {

Napi::Value PinObject(const Napi::Env &env, const Napi::Object &request);
Napi::Value GetPinned(const Napi::Env &env, const Napi::Object &request);
Napi::Value GetMapInfo(const Napi::Env &env, const Napi::Object &request);
Napi::Value UpdateLink(const Napi::Env &env, const Napi::Object &request);
Napi::Value GetLinkInfo(const Napi::Env &env, const Napi::Object &request);
Napi::Value MountBpffs(const Napi::Env &env, const Napi::Object &request);
Napi::Value LockDirectory(const Napi::Env &env, const Napi::Object &request);

} // namespace culvert
