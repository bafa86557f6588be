// Keys and certificates, made in memory at the start: two identities of the mesh and a stranger's. What the reactors'
// contexts and the peers' sessions are made of.
#pragma once

#include "check.h"
#include "tls/tls_context.h"

#include <cstdint>
#include <memory>
#include <openssl/ssl.h>
#include <vector>

namespace culvert::driver {

enum class Who { kWeb, kCart, kStranger, kNobody };

// The ids of the reactors' contexts. All are renewed at random while sessions of theirs are open.
inline constexpr int32_t kMutual = 1;
inline constexpr int32_t kOneSided = 2;   // a client needs no certificate
inline constexpr int32_t kDistrusting = 3; // trusts the stranger only
inline constexpr int32_t kFleeting = 4;   // is not always there
inline constexpr int32_t kContexts = 4;
// Bits of the list of protocols of every context.
inline constexpr uint32_t kProtocols = 1;
// access_denied: what scripts refuse with.
inline constexpr int32_t kRefusal = 49;

class Credentials {
public:
  // The first call makes them: before there are threads.
  static const Credentials &Instance();

  // Sets all contexts.
  void SetContexts() const;
  // Sets one anew, under another identity, or removes it. Any thread.
  void Renew(Random &random, int32_t id) const;
  bool IsOfMesh(const uint8_t *der, size_t length) const;
  bool IsStranger(const uint8_t *der, size_t length) const;

  // For a peer. `protocol`: the only one it speaks; null: none.
  SSL *NewSession(Who who, bool is_server, const char *protocol) const;

private:
  struct Identity {
    EVP_PKEY *key;
    X509 *certificate;
    std::vector<uint8_t> key_der;
    std::vector<uint8_t> der;
  };

  Credentials();
  static Identity Issue(const char *name, const Identity *issuer);
  void Set(int32_t id, Who who) const;

  Identity root_, strange_root_;
  Identity identities_[3]; // by Who
  SSL_CTX *peers_[4];      // by Who
};

} // namespace culvert::driver
