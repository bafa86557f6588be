// TLS on one socket: OpenSSL reads from it and writes to it through a BIO of ours, and decrypts into and encrypts out
// of the caller's blocks. One copy each way, inside OpenSSL.
//
//   handshaking ──> established ──(read | write)*──> closed for writing ──> gone
//
// Writing never waits: what the socket does not take of a record is kept here, encrypted. Whoever writes stops while
// Unsent() is not 0, so that is a record or our part of the handshake at most: reading makes OpenSSL write nothing (it
// answers a peer's key update before the next record).
//
// A peer chooses how many records and messages its bytes are, and each costs: so only so many bytes are taken at once,
// and messages that bring no data end the session when they do not end.
#pragma once

#include "tls/tls_context.h"
#include "tls/tls_failure.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <openssl/ssl.h>
#include <vector>

namespace culvert {

enum class TlsResult {
  kDone, // the handshake is over; or the buffer is full and there may be more
  kMore, // as many bytes were taken from the socket as may be at once
  kWait, // the socket has no more bytes
  kEnd,  // close_notify
  kFailed
};

class TlsSession {
public:
  static constexpr size_t kRecordBytes = 16 * 1024;

  struct Settings {
    bool is_server;
    uint32_t protocols; // bits of the context's list
    int32_t timeout_ms;
    double *stats; // bytes of the socket are counted here
  };

  // Null when memory is short.
  static std::unique_ptr<TlsSession> Create(std::shared_ptr<TlsContext> context, const Settings &settings);
  // Makes sessions of that context see alerts and answer ALPN.
  static void Observe(SSL_CTX *context);
  ~TlsSession();
  TlsSession(const TlsSession &) = delete;
  TlsSession &operator=(const TlsSession &) = delete;

  // The socket, which stays the caller's, once it is connected.
  void Attach(int fd) { fd_ = fd; }
  int32_t TimeoutMs() const { return settings_.timeout_ms; }

  // The socket may have bytes again: up to `most` are taken before the next call. `is_hung_up`: reading goes on until
  // FIN or the error is found.
  void LookAgain(bool is_hung_up, size_t most) {
    is_drained_ = false;
    is_hung_up_ = is_hung_up;
    may_take_ = most;
  }
  TlsResult Handshake();
  bool IsEstablished() const { return is_established_; }
  // Of an established session: our own until the session ends; or null.
  X509 *PeerCertificate() const { return SSL_get0_peer_certificate(ssl_); }
  // The agreed one's index in the context's list, or -1.
  int32_t Protocol() const;

  // Fills `to` as far as there are bytes: `bytes` of them, whatever is returned.
  TlsResult Read(uint8_t *to, size_t capacity, size_t *bytes);
  // One record. `more_follow`: the kernel need not send yet. False: WriteError() says why. True, but IsInMessage():
  // nothing was written.
  bool Write(const uint8_t *from, size_t length, bool more_follow);
  // Says that nothing follows; nothing does. But not yet if IsInMessage().
  void SendCloseNotify();
  // The peer has sent a part of a message (a key update, a session ticket), and only the rest of it lets us write.
  bool IsInMessage() const { return is_in_message_; }
  // Best effort: OpenSSL has no function for it that is meant for others.
  void SendAlert(int alert);

  size_t Unsent() const { return unsent_.size() - unsent_begin_; }
  // False: WriteError() says why.
  bool FlushUnsent();

  TlsFailure Failure() const { return failure_; }
  // The one that was sent or, if none was, received; 0: neither.
  int32_t Alert() const { return sent_alert_ != 0 ? sent_alert_ : received_alert_; }
  // errno of reading; of writing. What came before a write failed can still be read.
  int SocketError() const { return socket_error_; }
  int WriteError() const { return write_error_; }

private:
  TlsSession(std::shared_ptr<TlsContext> context, const Settings &settings)
      : context_(std::move(context)), settings_(settings) {}

  static int BioRead(BIO *bio, char *to, size_t capacity, size_t *bytes);
  static int BioWrite(BIO *bio, const char *from, size_t length, size_t *written);
  static long BioControl(BIO *bio, int command, long, void *);
  static const BIO_METHOD *Method();
  static void NoteState(const SSL *ssl, int where, int value);
  static int SelectProtocol(SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered,
                            unsigned offered_length, void *);
  TlsResult Diagnose(int result);
  TlsResult Fail(TlsFailure failure);
  void CountRecord();
  bool IsFlooded() const { return steps_ > kMostSteps; }

  // Between bytes of data. OpenSSL makes two of a key update or a session ticket: 32 of them, as BoringSSL allows.
  static constexpr int kMostSteps = 64;

  std::shared_ptr<TlsContext> context_;
  Settings settings_;
  SSL *ssl_ = nullptr;
  int fd_ = -1;
  std::vector<uint8_t> unsent_; // encrypted; from unsent_begin_ on
  size_t unsent_begin_ = 0;
  int64_t records_ = 0; // written since our keys were changed last
  TlsFailure failure_ = TlsFailure::kNone;
  size_t may_take_ = 0;
  int steps_ = 0; // of OpenSSL for the peer's messages, since it sent data
  int socket_error_ = 0;
  int write_error_ = 0;
  int16_t sent_alert_ = 0;
  int16_t received_alert_ = 0;
  bool is_established_ = false;
  bool is_drained_ = false; // a short read has found the end of what the socket has
  bool is_hung_up_ = false;
  bool is_reading_ = false; // OpenSSL is, for data
  bool is_in_message_ = false;
  bool is_ended_ = false; // FIN
  bool has_received_ = false;
  bool looks_like_tls_ = true;
  bool more_follow_ = false;
  bool is_closed_for_writing_ = false;
};

} // namespace culvert
