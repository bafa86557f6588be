#include "tls/tls_library.h"

#include <dlfcn.h>
#include <openssl/opensslv.h>

namespace culvert {
namespace {

// Everything native/tls calls. Functions are bound when they are first called: without this list, one that is missing
// would end the process in the middle of a handshake (test/unit/runtime/tls-library.test.ts keeps it complete).
constexpr const char *kFunctions[] = {
    "BIO_clear_flags",
    "BIO_get_data",
    "BIO_meth_new",
    "BIO_meth_set_ctrl",
    "BIO_meth_set_read_ex",
    "BIO_meth_set_write_ex",
    "BIO_new",
    "BIO_set_data",
    "BIO_set_flags",
    "BIO_set_init",
    "ERR_clear_error",
    "ERR_get_error",
    "ERR_peek_error",
    "ERR_peek_last_error",
    "ERR_reason_error_string",
    "EVP_PKEY_free",
    "OPENSSL_cleanse",
    "OpenSSL_version_num",
    "SSL_CTX_check_private_key",
    "SSL_CTX_ctrl",
    "SSL_CTX_free",
    "SSL_CTX_get_cert_store",
    "SSL_CTX_new",
    "SSL_CTX_set_alpn_select_cb",
    "SSL_CTX_set_ciphersuites",
    "SSL_CTX_set_default_read_buffer_len",
    "SSL_CTX_set_info_callback",
    "SSL_CTX_set_num_tickets",
    "SSL_CTX_set_options",
    "SSL_CTX_set_verify",
    "SSL_CTX_set_verify_depth",
    "SSL_CTX_use_PrivateKey",
    "SSL_CTX_use_certificate",
    "SSL_do_handshake",
    "SSL_free",
    "SSL_get0_alpn_selected",
    "SSL_get0_peer_certificate",
    "SSL_get_error",
    "SSL_get_ex_data",
    "SSL_get_verify_result",
    "SSL_key_update",
    "SSL_new",
    "SSL_read_ex",
    "SSL_set_accept_state",
    "SSL_set_alpn_protos",
    "SSL_set_bio",
    "SSL_set_connect_state",
    "SSL_set_ex_data",
    "SSL_shutdown",
    "SSL_write_ex",
    "TLS_method",
    "X509_STORE_add_cert",
    "X509_STORE_set_flags",
    "X509_free",
    "d2i_AutoPrivateKey",
    "d2i_X509",
    "i2d_X509",
};

constexpr unsigned long kMinorMask = 0xfff00000; // MNN00PP0: patch releases keep the interface

std::string VersionText(unsigned long number) {
  return std::to_string(number >> 28) + "." + std::to_string(number >> 20 & 0xff) + "." +
         std::to_string(number >> 4 & 0xff);
}

} // namespace

std::string TlsLibraryProblem() {
  for (const char *name : kFunctions)
    if (dlsym(RTLD_DEFAULT, name) == nullptr) return "this program does not export OpenSSL's " + std::string(name);
  auto version = reinterpret_cast<unsigned long (*)()>(dlsym(RTLD_DEFAULT, "OpenSSL_version_num"))();
  if ((version & kMinorMask) != (OPENSSL_VERSION_NUMBER & kMinorMask))
    return "this program has OpenSSL " + VersionText(version) + ", the addon was built for " +
           VersionText(OPENSSL_VERSION_NUMBER);
  return "";
}

} // namespace culvert
