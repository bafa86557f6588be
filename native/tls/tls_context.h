// What many sessions share: our certificate and key, whom we trust, how we speak. TLS 1.3 only, AES-GCM, no session
// tickets, no resumption, no certificate compression (three quarters of a handshake's time).
//
// Contexts are the process's, not a worker's: the key is handed over once. A session keeps the context it began with.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <openssl/ssl.h>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace culvert {

using Der = std::span<const uint8_t>;

struct TlsContextConfig {
  std::vector<Der> chain;             // our certificate first; may be empty: then only a client's role is possible
  Der key;                            // PKCS #8 or the key type's own form
  std::vector<Der> roots;             // trust anchors, self-signed or not
  std::vector<std::string> protocols; // ALPN, the preferred first; at most 16
  bool requires_peer_certificate;     // of a client; a server always needs one
  bool is_hybrid;                     // X25519MLKEM768 first
  int64_t key_update_records;         // our keys are changed after writing so many records
};

class TlsContext {
public:
  // Null, and `problem` says why.
  static std::shared_ptr<TlsContext> Create(const TlsContextConfig &config, std::string *problem);
  ~TlsContext();
  TlsContext(const TlsContext &) = delete;
  TlsContext &operator=(const TlsContext &) = delete;

  SSL_CTX *Get() const { return context_; }
  const std::vector<std::string> &Protocols() const { return protocols_; }
  int64_t KeyUpdateRecords() const { return key_update_records_; }
  // Those of the list whose bit is set in `mask`, as ALPN writes them.
  std::vector<uint8_t> ProtocolsOnWire(uint32_t mask) const;

private:
  explicit TlsContext(SSL_CTX *context) : context_(context) {}
  std::string Configure(const TlsContextConfig &config);
  std::string UseIdentity(const TlsContextConfig &config);
  std::string Trust(const std::vector<Der> &roots);

  SSL_CTX *context_;
  std::vector<std::string> protocols_;
  int64_t key_update_records_ = 0;
};

// The process's contexts by id. Any thread.
class TlsContexts {
public:
  static TlsContexts &Instance();

  // Sessions that begin from now on use it.
  void Set(int32_t id, std::shared_ptr<TlsContext> context);
  void Remove(int32_t id);
  std::shared_ptr<TlsContext> Find(int32_t id);

private:
  std::mutex mutex_;
  std::unordered_map<int32_t, std::shared_ptr<TlsContext>> contexts_;
};

} // namespace culvert
