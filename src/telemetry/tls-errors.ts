// The error code and words for what the reactor tells of a TLS session that failed.

import { tlsFailure } from "../runtime/layout.ts";
import type { ErrorCode } from "./errors.ts";

type TlsErrorCode = Extract<ErrorCode, `TLS_${string}`>;

const codes: Readonly<Record<Exclude<keyof typeof tlsFailure, "none">, TlsErrorCode>> = {
  protocol: "TLS_PROTOCOL",
  notTls: "TLS_NOT_TLS",
  version: "TLS_VERSION",
  nothingInCommon: "TLS_NOTHING_IN_COMMON",
  application: "TLS_APPLICATION_PROTOCOL",
  noCertificate: "TLS_NO_CERTIFICATE",
  untrusted: "TLS_UNTRUSTED",
  expired: "TLS_EXPIRED",
  notYetValid: "TLS_NOT_YET_VALID",
  wrongUsage: "TLS_WRONG_USAGE",
  badCertificate: "TLS_BAD_CERTIFICATE",
  timeout: "TLS_TIMEOUT",
  truncated: "TLS_TRUNCATED",
  peerAlert: "TLS_REFUSED_BY_PEER",
  noContext: "TLS_NO_CONTEXT",
};

const codeOfNumber = new Map<number, TlsErrorCode>(
  Object.entries(codes).map(([name, code]) => [tlsFailure[name as keyof typeof codes], code]),
);

/** Of `Connection.tlsFailure`; undefined when TLS did not end the connection. */
export function tlsErrorCode(failure: number): TlsErrorCode | undefined {
  return codeOfNumber.get(failure);
}

/** RFC 8446 §6. */
const alertNames: Readonly<Record<number, string>> = {
  0: "close_notify",
  10: "unexpected_message",
  20: "bad_record_mac",
  22: "record_overflow",
  40: "handshake_failure",
  42: "bad_certificate",
  43: "unsupported_certificate",
  44: "certificate_revoked",
  45: "certificate_expired",
  46: "certificate_unknown",
  47: "illegal_parameter",
  48: "unknown_ca",
  49: "access_denied",
  50: "decode_error",
  51: "decrypt_error",
  70: "protocol_version",
  71: "insufficient_security",
  80: "internal_error",
  86: "inappropriate_fallback",
  90: "user_canceled",
  109: "missing_extension",
  110: "unsupported_extension",
  112: "unrecognized_name",
  113: "bad_certificate_status_response",
  115: "unknown_psk_identity",
  116: "certificate_required",
  120: "no_application_protocol",
};

/** Of `Connection.tlsAlert`: its name, or its number when the standard has none for it. */
export function tlsAlertName(alert: number): string {
  return alertNames[alert] ?? `${alert}`;
}
