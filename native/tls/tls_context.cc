#include "tls/tls_context.h"

#include "tls/tls_session.h"

#include <openssl/err.h>
#include <openssl/x509.h>

namespace culvert {
namespace {

constexpr const char *kCipherSuites = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
constexpr const char *kGroups = "X25519:P-256";
constexpr const char *kHybridGroups = "X25519MLKEM768:X25519:P-256";
// A mesh's chains are a leaf and an intermediate or two; this bounds what a stranger makes us parse.
constexpr long kMaxPeerChainBytes = 32 * 1024;
constexpr int kMaxChainDepth = 5;
// What one read takes from the socket: four full records and their overhead.
constexpr size_t kReadBufferBytes = 4 * (16 * 1024 + 64);

// Takes the reason out of OpenSSL's queue, which must be left empty: Node's own crypto looks into it too.
std::string TakeReason(const char *fallback) {
  unsigned long error = ERR_peek_last_error();
  const char *reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  std::string text = reason == nullptr ? fallback : reason;
  ERR_clear_error();
  return text;
}

X509 *ParseCertificate(Der der) {
  const uint8_t *at = der.data();
  X509 *certificate = d2i_X509(nullptr, &at, long(der.size()));
  if (certificate != nullptr && at != der.data() + der.size()) {
    X509_free(certificate); // something follows it
    return nullptr;
  }
  return certificate;
}

} // namespace

std::shared_ptr<TlsContext> TlsContext::Create(const TlsContextConfig &config, std::string *problem) {
  ERR_clear_error();
  SSL_CTX *made = SSL_CTX_new(TLS_method());
  if (made == nullptr) {
    *problem = TakeReason("out of memory");
    return nullptr;
  }
  std::shared_ptr<TlsContext> context(new TlsContext(made));
  *problem = context->Configure(config);
  if (problem->empty()) *problem = context->UseIdentity(config);
  if (problem->empty()) *problem = context->Trust(config.roots);
  ERR_clear_error();
  return problem->empty() ? context : nullptr;
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

std::string TlsContext::Configure(const TlsContextConfig &config) {
  protocols_ = config.protocols;
  key_update_records_ = config.key_update_records;
  if (SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(context_, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context_, kCipherSuites) != 1)
    return "TLS 1.3 with AES-GCM: " + TakeReason("refused");
  if (SSL_CTX_set1_groups_list(context_, config.is_hybrid ? kHybridGroups : kGroups) != 1)
    return std::string("groups ") + (config.is_hybrid ? kHybridGroups : kGroups) + ": " + TakeReason("refused");
  uint64_t options = SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE;
#ifdef SSL_OP_NO_TX_CERTIFICATE_COMPRESSION // OpenSSL 3.2
  options |= SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION;
#endif
  SSL_CTX_set_options(context_, options);
  SSL_CTX_set_num_tickets(context_, 0);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  // An idle session holds no buffers.
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context_, 1);
  SSL_CTX_set_default_read_buffer_len(context_, kReadBufferBytes);
  SSL_CTX_set_max_cert_list(context_, kMaxPeerChainBytes);
  SSL_CTX_set_verify_depth(context_, kMaxChainDepth);
  SSL_CTX_set_verify(
      context_, SSL_VERIFY_PEER | (config.requires_peer_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  TlsSession::Observe(context_);
  return "";
}

std::string TlsContext::UseIdentity(const TlsContextConfig &config) {
  for (size_t i = 0; i < config.chain.size(); i++) {
    X509 *certificate = ParseCertificate(config.chain[i]);
    if (certificate == nullptr)
      return "certificate " + std::to_string(i + 1) + " of the chain: " + TakeReason("not one DER certificate");
    bool is_used = i == 0 ? SSL_CTX_use_certificate(context_, certificate) == 1
                          : SSL_CTX_add1_chain_cert(context_, certificate) == 1;
    X509_free(certificate);
    if (!is_used) return "certificate " + std::to_string(i + 1) + " of the chain: " + TakeReason("refused");
  }
  if (config.chain.empty()) return "";
  const uint8_t *at = config.key.data();
  EVP_PKEY *key = d2i_AutoPrivateKey(nullptr, &at, long(config.key.size()));
  if (key == nullptr) {
    ERR_clear_error();
    return "the key is not DER of a private key";
  }
  bool is_used = SSL_CTX_use_PrivateKey(context_, key) == 1;
  EVP_PKEY_free(key);
  if (!is_used) return "the key: " + TakeReason("refused");
  return SSL_CTX_check_private_key(context_) == 1 ? "" : "the key: " + TakeReason("not that of the certificate");
}

std::string TlsContext::Trust(const std::vector<Der> &roots) {
  X509_STORE *store = SSL_CTX_get_cert_store(context_);
  // Whatever is given is an anchor, be it self-signed or not.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  for (size_t i = 0; i < roots.size(); i++) {
    X509 *certificate = ParseCertificate(roots[i]);
    if (certificate == nullptr) return "root " + std::to_string(i + 1) + ": " + TakeReason("not one DER certificate");
    bool is_added = X509_STORE_add_cert(store, certificate) == 1;
    X509_free(certificate);
    if (!is_added) return "root " + std::to_string(i + 1) + ": " + TakeReason("refused");
  }
  return "";
}

std::vector<uint8_t> TlsContext::ProtocolsOnWire(uint32_t mask) const {
  std::vector<uint8_t> wire;
  for (size_t i = 0; i < protocols_.size(); i++) {
    if ((mask >> i & 1) == 0) continue;
    wire.push_back(uint8_t(protocols_[i].size()));
    wire.insert(wire.end(), protocols_[i].begin(), protocols_[i].end());
  }
  return wire;
}

TlsContexts &TlsContexts::Instance() {
  static TlsContexts contexts;
  return contexts;
}

void TlsContexts::Set(int32_t id, std::shared_ptr<TlsContext> context) {
  std::lock_guard lock(mutex_);
  contexts_[id].swap(context); // what was there is destroyed after the lock is given back
}

void TlsContexts::Remove(int32_t id) {
  std::shared_ptr<TlsContext> removed;
  std::lock_guard lock(mutex_);
  if (auto found = contexts_.find(id); found != contexts_.end()) {
    removed = std::move(found->second);
    contexts_.erase(found);
  }
}

std::shared_ptr<TlsContext> TlsContexts::Find(int32_t id) {
  std::lock_guard lock(mutex_);
  auto found = contexts_.find(id);
  return found == contexts_.end() ? nullptr : found->second;
}

} // namespace culvert
