// The addon's entry: what it exports is declared, and documented, in src/runtime/native.ts.
#include "bpf/bpf_napi.h"
#include "netns/netns_napi.h"
#include "netns/tcp_socket.h"
#include "reactor/reactor_napi.h"
#include "tls/tls_library.h"
#include "tls/tls_napi.h"

#include <napi.h>
#include <sys/prctl.h>
#include <sys/resource.h>

namespace culvert {
namespace {

Napi::Value HardenProcess(const Napi::CallbackInfo &info) {
  prctl(PR_SET_DUMPABLE, 0);
  rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  return info.Env().Undefined();
}

// Two descriptors a connection, and sockets kept ready in every pod.
Napi::Value RaiseDescriptorLimit(const Napi::CallbackInfo &info) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return Napi::Number::New(info.Env(), double(limit.rlim_cur));
}

Napi::Value SetPeerTimeoutOf(const Napi::CallbackInfo &info) {
  SetPeerTimeout(info[0].ToNumber().Int32Value());
  return info.Env().Undefined();
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  if (std::string problem = TlsLibraryProblem(); !problem.empty()) {
    Napi::Error::New(env, "load the addon: " + problem + "; run it with the pinned Node, as bin/culvert does")
        .ThrowAsJavaScriptException();
    return exports;
  }
  exports.Set("bpf", Napi::Function::New(env, BpfCall, "bpf"));
  exports.Set("beat", Napi::Function::New(env, Beat, "beat"));
  exports.Set("netns", Napi::Function::New(env, NetnsCall, "netns"));
  exports.Set("Reactor", DefineReactor(env));
  exports.Set("setTlsContext", Napi::Function::New(env, SetTlsContext, "setTlsContext"));
  exports.Set("removeTlsContext", Napi::Function::New(env, RemoveTlsContext, "removeTlsContext"));
  exports.Set("hardenProcess", Napi::Function::New(env, HardenProcess, "hardenProcess"));
  exports.Set("raiseDescriptorLimit", Napi::Function::New(env, RaiseDescriptorLimit, "raiseDescriptorLimit"));
  exports.Set("setPeerTimeout", Napi::Function::New(env, SetPeerTimeoutOf, "setPeerTimeout"));
  return exports;
}

} // namespace
} // namespace culvert

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  return culvert::Init(env, exports);
}
NODE_API_MODULE(culvert, InitAddon)
