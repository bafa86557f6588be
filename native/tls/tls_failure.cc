#include "tls/tls_failure.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

namespace culvert {
namespace {

TlsFailure OfCertificate(long verify_result) {
  switch (verify_result) {
  case X509_V_ERR_CERT_HAS_EXPIRED:
    return TlsFailure::kExpired;
  case X509_V_ERR_CERT_NOT_YET_VALID:
    return TlsFailure::kNotYetValid;
  case X509_V_ERR_INVALID_PURPOSE:
    return TlsFailure::kWrongUsage;
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_CERT_SIGNATURE_FAILURE:
  case X509_V_ERR_CERT_CHAIN_TOO_LONG:
  case X509_V_ERR_INVALID_CA:
  case X509_V_ERR_PATH_LENGTH_EXCEEDED:
  case X509_V_ERR_CERT_UNTRUSTED:
    return TlsFailure::kUntrusted;
  default:
    return TlsFailure::kBadCertificate;
  }
}

TlsFailure OfAlert(int alert) {
  switch (alert) {
  case SSL_AD_PROTOCOL_VERSION:
    return TlsFailure::kVersion;
  case SSL_AD_NO_APPLICATION_PROTOCOL:
    return TlsFailure::kApplication;
  default:
    return TlsFailure::kPeerAlert;
  }
}

TlsFailure Of(int reason, long verify_result) {
  if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
    return OfAlert(reason - SSL_AD_REASON_OFFSET);
  switch (reason) {
  case SSL_R_CERTIFICATE_VERIFY_FAILED:
    return OfCertificate(verify_result);
  case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    return TlsFailure::kNoCertificate;
  case ERR_R_ASN1_LIB:
  case ERR_R_X509_LIB:
  case SSL_R_UNKNOWN_CERTIFICATE_TYPE:
    return TlsFailure::kBadCertificate;
  case SSL_R_UNSUPPORTED_PROTOCOL:
  case SSL_R_VERSION_TOO_LOW:
  case SSL_R_UNSUPPORTED_SSL_VERSION:
  case SSL_R_WRONG_SSL_VERSION:
    return TlsFailure::kVersion;
  case SSL_R_NO_APPLICATION_PROTOCOL:
    return TlsFailure::kApplication;
  case SSL_R_NO_SHARED_CIPHER:
  case SSL_R_NO_SUITABLE_KEY_SHARE:
  case SSL_R_NO_SUITABLE_GROUPS:
  case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
  case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    return TlsFailure::kNothingInCommon;
  default:
    return TlsFailure::kProtocol;
  }
}

} // namespace

// Other libraries' errors come first in the queue; their numbers mean other things.
TlsFailure TakeTlsFailure(long verify_result) {
  TlsFailure failure = TlsFailure::kProtocol;
  bool is_found = false;
  while (unsigned long error = ERR_get_error()) {
    if (ERR_GET_LIB(error) != ERR_LIB_SSL || is_found) continue;
    is_found = true;
    failure = Of(ERR_GET_REASON(error), verify_result);
  }
  return failure;
}

} // namespace culvert
