#include "credentials.h"

#include <cstring>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace culvert::driver {
namespace {

constexpr long kDaySeconds = 86'400;
// Few, so that keys are changed all the time.
constexpr int64_t kKeyUpdateRecords = 20;

// In one certificate: a flight that sockets do not take at once.
constexpr int kPaddingBytes = 12'000;

void Extend(X509 *certificate, int kind, const char *value) {
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
  CHECK(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, "extension %s", value);
  X509_EXTENSION_free(extension);
}

int TakeAny(int, X509_STORE_CTX *) {
  return 1;
}

int SelectProtocol(SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered,
                   unsigned offered_length, void *) {
  const char *ours = static_cast<const char *>(SSL_get_app_data(ssl));
  if (ours == nullptr) return SSL_TLSEXT_ERR_NOACK;
  CHECK(offered_length == 1 + strlen(ours) && memcmp(offered + 1, ours, strlen(ours)) == 0, "ALPN: %u bytes",
        offered_length);
  *chosen = offered + 1;
  *length = offered[0];
  return SSL_TLSEXT_ERR_OK;
}

} // namespace

const Credentials &Credentials::Instance() {
  static const auto *instance = new Credentials();
  return *instance;
}

Credentials::Credentials()
    : root_(Issue("mesh root", nullptr)), strange_root_(Issue("strange root", nullptr)),
      identities_{Issue("web", &root_), Issue("cart", &root_), Issue("stranger", &strange_root_)} {
  for (Who who : {Who::kWeb, Who::kCart, Who::kStranger, Who::kNobody}) {
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    CHECK(context != nullptr, "SSL_CTX_new");
    // Reactors are what is tested: peers believe them everything.
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, TakeAny);
    SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
    if (who != Who::kNobody) {
      const Identity &identity = identities_[int(who)];
      CHECK(SSL_CTX_use_certificate(context, identity.certificate) == 1, "use a certificate");
      CHECK(SSL_CTX_use_PrivateKey(context, identity.key) == 1, "use a key");
    }
    peers_[int(who)] = context;
  }
}

Credentials::Identity Credentials::Issue(const char *name, const Identity *issuer) {
  static long serial = 0;
  Identity made{};
  made.key = EVP_EC_gen("P-256");
  made.certificate = X509_new();
  CHECK(made.key != nullptr && made.certificate != nullptr, "make a key for %s", name);
  X509 *certificate = made.certificate;
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -kDaySeconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate), kDaySeconds);
  X509_NAME *subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char *>(name), -1, -1, 0);
  X509_set_issuer_name(certificate, issuer == nullptr ? subject : X509_get_subject_name(issuer->certificate));
  X509_set_pubkey(certificate, made.key);
  Extend(certificate, NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "critical,CA:FALSE");
  Extend(certificate, NID_key_usage, issuer == nullptr ? "critical,keyCertSign" : "critical,digitalSignature");
  if (issuer != nullptr) Extend(certificate, NID_ext_key_usage, "serverAuth,clientAuth");
  if (!strcmp(name, "cart")) {
    std::vector<uint8_t> zeros(kPaddingBytes);
    ASN1_OCTET_STRING *padding = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(padding, zeros.data(), kPaddingBytes);
    ASN1_OBJECT *kind = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(nullptr, kind, 0, padding);
    CHECK(X509_add_ext(certificate, extension, -1) == 1, "padding");
    X509_EXTENSION_free(extension);
    ASN1_OBJECT_free(kind);
    ASN1_OCTET_STRING_free(padding);
  }
  CHECK(X509_sign(certificate, issuer == nullptr ? made.key : issuer->key, EVP_sha256()) > 0, "sign %s", name);
  made.der.resize(size_t(i2d_X509(certificate, nullptr)));
  uint8_t *to = made.der.data();
  i2d_X509(certificate, &to);
  made.key_der.resize(size_t(i2d_PrivateKey(made.key, nullptr)));
  to = made.key_der.data();
  i2d_PrivateKey(made.key, &to);
  return made;
}

void Credentials::SetContexts() const {
  for (int32_t id = 1; id <= kContexts; id++)
    Set(id, Who::kWeb);
}

void Credentials::Renew(Random &random, int32_t id) const {
  if (id == kFleeting && random.OneIn(2)) {
    TlsContexts::Instance().Remove(id);
  } else {
    Set(id, random.OneIn(3) ? Who::kCart : Who::kWeb);
  }
}

void Credentials::Set(int32_t id, Who who) const {
  const Identity &identity = identities_[int(who)];
  TlsContextConfig config{};
  config.chain = {identity.der};
  config.key = identity.key_der;
  config.roots = {id == kDistrusting ? strange_root_.der : root_.der};
  config.protocols = {"a", "b"};
  config.requires_peer_certificate = id != kOneSided;
  config.key_update_records = kKeyUpdateRecords;
  std::string problem;
  std::shared_ptr<TlsContext> context = TlsContext::Create(config, &problem);
  CHECK(context != nullptr, "context %d: %s", id, problem.c_str());
  TlsContexts::Instance().Set(id, std::move(context));
}

bool Credentials::IsOfMesh(const uint8_t *der, size_t length) const {
  for (Who who : {Who::kWeb, Who::kCart}) {
    const std::vector<uint8_t> &each = identities_[int(who)].der;
    if (each.size() == length && memcmp(each.data(), der, length) == 0) return true;
  }
  return false;
}

bool Credentials::IsStranger(const uint8_t *der, size_t length) const {
  const std::vector<uint8_t> &strange = identities_[int(Who::kStranger)].der;
  return strange.size() == length && memcmp(strange.data(), der, length) == 0;
}

SSL *Credentials::NewSession(Who who, bool is_server, const char *protocol) const {
  SSL *ssl = SSL_new(peers_[int(who)]);
  CHECK(ssl != nullptr, "SSL_new");
  SSL_set_app_data(ssl, const_cast<char *>(protocol));
  if (is_server) {
    SSL_set_accept_state(ssl);
    return ssl;
  }
  SSL_set_connect_state(ssl);
  if (protocol == nullptr) return ssl;
  std::vector<uint8_t> wire{uint8_t(strlen(protocol))};
  wire.insert(wire.end(), protocol, protocol + strlen(protocol));
  CHECK(SSL_set_alpn_protos(ssl, wire.data(), unsigned(wire.size())) == 0, "ALPN");
  return ssl;
}

} // namespace culvert::driver
