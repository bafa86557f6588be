#include "tls/tls_napi.h"

#include "tls/tls_context.h"

#include <openssl/crypto.h>

namespace culvert {
namespace {

Der DerOf(const Napi::Value &value) {
  auto bytes = value.As<Napi::Uint8Array>();
  return {bytes.Data(), bytes.ByteLength()};
}

std::vector<Der> DerListOf(const Napi::Value &value) {
  auto list = value.As<Napi::Array>();
  std::vector<Der> all;
  for (uint32_t i = 0; i < list.Length(); i++)
    all.push_back(DerOf(list.Get(i)));
  return all;
}

} // namespace

Napi::Value SetTlsContext(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  int32_t id = info[0].As<Napi::Number>().Int32Value();
  auto options = info[1].As<Napi::Object>();
  TlsContextConfig config{};
  config.chain = DerListOf(options.Get("certificateChain"));
  config.key = DerOf(options.Get("key"));
  config.roots = DerListOf(options.Get("roots"));
  auto protocols = options.Get("protocols").As<Napi::Array>();
  for (uint32_t i = 0; i < protocols.Length(); i++)
    config.protocols.push_back(protocols.Get(i).As<Napi::String>().Utf8Value());
  config.requires_peer_certificate = options.Get("requiresPeerCertificate").ToBoolean();
  config.is_hybrid = options.Get("isHybrid").ToBoolean();
  config.key_update_records = options.Get("keyUpdateRecords").ToNumber().Int64Value();
  std::string problem;
  std::shared_ptr<TlsContext> context = TlsContext::Create(config, &problem);
  // The caller's copy, whether it was any good or not.
  OPENSSL_cleanse(const_cast<uint8_t *>(config.key.data()), config.key.size());
  if (context == nullptr) {
    Napi::Error::New(env, "set TLS context " + std::to_string(id) + ": " + problem).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  TlsContexts::Instance().Set(id, std::move(context));
  return env.Undefined();
}

Napi::Value RemoveTlsContext(const Napi::CallbackInfo &info) {
  TlsContexts::Instance().Remove(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

} // namespace culvert
