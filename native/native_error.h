#pragma once

#include <cerrno>
#include <cstring>
#include <napi.h>
#include <string>

namespace culvert {

// Throws a NativeError (src/runtime/native.ts): "<what>: <strerror>; <hint>", with errno's name and the system call.
// Returns undefined, for `return ThrowSystemError(…)`.
inline Napi::Value ThrowSystemError(Napi::Env env, const char *syscall, int error, const std::string &what,
                                    const std::string &hint = "") {
  std::string message = what + ": " + strerror(error);
  for (size_t i = what.size(); i < message.size(); i++)
    message[i] = static_cast<char>(tolower(message[i]));
  if (!hint.empty()) message += "; " + hint;
  Napi::Error exception = Napi::Error::New(env, message);
  exception.Value().Set("errno", strerrorname_np(error));
  exception.Value().Set("syscall", syscall);
  exception.ThrowAsJavaScriptException();
  return env.Undefined();
}

} // namespace culvert
