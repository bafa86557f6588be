#include "tls/tls_session.h"

#include <algorithm>
#include <cerrno>
#include <dlfcn.h>
#include <openssl/err.h>
#include <string_view>
#include <sys/socket.h>

namespace culvert {
namespace {

TlsSession *SessionOf(const SSL *ssl) {
  return static_cast<TlsSession *>(SSL_get_app_data(ssl));
}

// Errors of others (Node's crypto uses the same thread's queue) would be taken for ours.
void ForgetErrors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

// Node's binary exports it; where it is missing a refusal is an end without close_notify and without a reason.
using SendAlertFunction = int (*)(SSL *ssl, int level, int alert);
const auto send_alert = reinterpret_cast<SendAlertFunction>(dlsym(RTLD_DEFAULT, "ssl3_send_alert"));

} // namespace

std::unique_ptr<TlsSession> TlsSession::Create(std::shared_ptr<TlsContext> context, const Settings &settings) {
  std::unique_ptr<TlsSession> session(new TlsSession(std::move(context), settings));
  ForgetErrors();
  session->ssl_ = SSL_new(session->context_->Get());
  BIO *bio = session->ssl_ == nullptr ? nullptr : BIO_new(Method());
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, session.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(session->ssl_, bio, bio);
  SSL_set_app_data(session->ssl_, session.get());
  if (settings.is_server) {
    SSL_set_accept_state(session->ssl_);
  } else {
    SSL_set_connect_state(session->ssl_);
    std::vector<uint8_t> protocols = session->context_->ProtocolsOnWire(settings.protocols);
    if (!protocols.empty() && SSL_set_alpn_protos(session->ssl_, protocols.data(), unsigned(protocols.size())) != 0)
      return nullptr;
  }
  return session;
}

TlsSession::~TlsSession() {
  SSL_free(ssl_);
}

void TlsSession::Observe(SSL_CTX *context) {
  SSL_CTX_set_info_callback(context, NoteState);
  SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
}

void TlsSession::NoteState(const SSL *ssl, int where, int value) {
  TlsSession *session = SessionOf(ssl);
  if (session == nullptr) return;
  if (session->is_reading_ && (where & SSL_CB_LOOP) != 0) session->steps_++;
  if ((where & SSL_CB_ALERT) == 0) return;
  ((where & SSL_CB_READ) != 0 ? session->received_alert_ : session->sent_alert_) = int16_t(value & 0xff);
}

int TlsSession::SelectProtocol(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                               const unsigned char *offered, unsigned offered_length, void *) {
  TlsSession *session = SessionOf(ssl);
  if (session->settings_.protocols == 0) return SSL_TLSEXT_ERR_NOACK;
  const std::vector<std::string> &ours = session->context_->Protocols();
  for (size_t i = 0; i < ours.size(); i++) {
    if ((session->settings_.protocols >> i & 1) == 0) continue;
    for (unsigned at = 0; at < offered_length && at + 1 + offered[at] <= offered_length; at += 1 + offered[at]) {
      std::string_view theirs(reinterpret_cast<const char *>(offered) + at + 1, offered[at]);
      if (theirs != ours[i]) continue;
      *chosen = offered + at + 1;
      *length = offered[at];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int32_t TlsSession::Protocol() const {
  const unsigned char *name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &name, &length);
  std::string_view agreed(reinterpret_cast<const char *>(name), length);
  const std::vector<std::string> &ours = context_->Protocols();
  auto found = std::find(ours.begin(), ours.end(), agreed);
  return found == ours.end() ? -1 : int32_t(found - ours.begin());
}

TlsResult TlsSession::Handshake() {
  ForgetErrors();
  int result = SSL_do_handshake(ssl_);
  if (result != 1) return Diagnose(result);
  if (settings_.protocols != 0 && Protocol() < 0) { // it did not speak ALPN at all
    SendAlert(SSL_AD_NO_APPLICATION_PROTOCOL);
    return Fail(TlsFailure::kApplication);
  }
  is_established_ = true;
  return TlsResult::kDone;
}

TlsResult TlsSession::Read(uint8_t *to, size_t capacity, size_t *bytes) {
  *bytes = 0;
  while (*bytes < capacity) {
    ForgetErrors();
    size_t got = 0;
    is_reading_ = true;
    int result = SSL_read_ex(ssl_, to + *bytes, capacity - *bytes, &got);
    is_reading_ = false;
    if (result != 1) return Diagnose(result);
    steps_ = 0;
    *bytes += got;
  }
  return TlsResult::kDone;
}

bool TlsSession::Write(const uint8_t *from, size_t length, bool more_follow) {
  ForgetErrors();
  more_follow_ = more_follow;
  size_t written = 0;
  int result = SSL_write_ex(ssl_, from, length, &written);
  more_follow_ = false;
  is_in_message_ = result != 1 && SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ;
  if (result == 1) {
    CountRecord();
  } else if (write_error_ == 0 && !is_in_message_) {
    write_error_ = EPROTO; // the session is broken: reading says why
  }
  return write_error_ == 0;
}

// AES-GCM wears out after 2^24.5 full records under one key (RFC 8446 §5.5). The peer looks after its own: Go's
// crypto/tls cannot read on after it was asked for an update when it had sent close_notify.
void TlsSession::CountRecord() {
  if (++records_ < context_->KeyUpdateRecords()) return;
  records_ = 0;
  if (SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) SSL_do_handshake(ssl_);
}

void TlsSession::SendCloseNotify() {
  if (is_closed_for_writing_) return;
  ForgetErrors();
  is_in_message_ = SSL_shutdown(ssl_) < 0 && ERR_GET_REASON(ERR_peek_error()) == SSL_R_SHUTDOWN_WHILE_IN_INIT;
  ForgetErrors();
  is_closed_for_writing_ = !is_in_message_;
}

void TlsSession::SendAlert(int alert) {
  if (is_closed_for_writing_ || send_alert == nullptr) return;
  ForgetErrors();
  send_alert(ssl_, SSL3_AL_FATAL, alert);
  is_closed_for_writing_ = true;
}

TlsResult TlsSession::Fail(TlsFailure failure) {
  failure_ = failure;
  ForgetErrors();
  return TlsResult::kFailed;
}

TlsResult TlsSession::Diagnose(int result) {
  switch (SSL_get_error(ssl_, result)) {
  case SSL_ERROR_WANT_READ:
    return is_drained_ ? TlsResult::kWait : TlsResult::kMore;
  case SSL_ERROR_ZERO_RETURN:
    return is_established_ ? TlsResult::kEnd : Fail(TlsFailure::kTruncated);
  case SSL_ERROR_SSL:
    break;
  default:
    if (IsFlooded()) SendAlert(SSL_AD_UNEXPECTED_MESSAGE);
    if (socket_error_ == 0 && !is_ended_) return Fail(TlsFailure::kProtocol);
  }
  if (socket_error_ != 0) return Fail(TlsFailure::kNone);
  unsigned long error = ERR_peek_error();
  if (is_ended_ && (error == 0 || ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING))
    return Fail(TlsFailure::kTruncated);
  if (!is_established_ && !looks_like_tls_) return Fail(TlsFailure::kNotTls);
  return Fail(TakeTlsFailure(SSL_get_verify_result(ssl_)));
}

bool TlsSession::FlushUnsent() {
  while (Unsent() > 0) {
    ssize_t sent = send(fd_, unsent_.data() + unsent_begin_, Unsent(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      write_error_ = errno;
      return false;
    }
    settings_.stats[kStatBytesWritten] += double(sent);
    unsent_begin_ += size_t(sent);
  }
  std::vector<uint8_t>().swap(unsent_);
  unsent_begin_ = 0;
  return true;
}

const BIO_METHOD *TlsSession::Method() {
  static const BIO_METHOD *method = [] {
    BIO_METHOD *made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "culvert socket");
    BIO_meth_set_read_ex(made, BioRead);
    BIO_meth_set_write_ex(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

int TlsSession::BioRead(BIO *bio, char *to, size_t capacity, size_t *bytes) {
  auto *session = static_cast<TlsSession *>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *bytes = 0;
  if (session->is_ended_ || session->socket_error_ != 0 || session->IsFlooded()) return 0;
  if (session->is_drained_ || session->may_take_ == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  capacity = std::min(capacity, session->may_take_);
  ssize_t got;
  do {
    got = recv(session->fd_, to, capacity, 0);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    // As with plain connections: a short read has found the end, unless FIN or an error was reported already.
    session->is_drained_ = size_t(got) < capacity && !session->is_hung_up_;
    session->may_take_ -= size_t(got);
    session->settings_.stats[kStatBytesRead] += double(got);
    if (!session->has_received_) {
      session->has_received_ = true;
      // A record begins with its type (20 to 23) and the version 3.x.
      session->looks_like_tls_ = to[0] >= 20 && to[0] <= 23 && (got == 1 || to[1] == 3);
    }
    *bytes = size_t(got);
    return 1;
  }
  if (got == 0) {
    session->is_ended_ = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    session->is_drained_ = true;
    BIO_set_retry_read(bio);
  } else {
    session->socket_error_ = errno;
  }
  return 0;
}

// Takes everything: what the socket does not, is kept. An error is not told to OpenSSL, which may be in the middle of
// reading: what came before the error must still be delivered.
int TlsSession::BioWrite(BIO *bio, const char *from, size_t length, size_t *written) {
  auto *session = static_cast<TlsSession *>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *written = length;
  if (session->is_closed_for_writing_ || session->write_error_ != 0) return 1;
  size_t sent = 0;
  while (session->Unsent() == 0 && sent < length) {
    ssize_t result =
        send(session->fd_, from + sent, length - sent, MSG_NOSIGNAL | (session->more_follow_ ? MSG_MORE : 0));
    if (result >= 0) {
      session->settings_.stats[kStatBytesWritten] += double(result);
      sent += size_t(result);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      session->write_error_ = errno;
      return 1;
    }
  }
  if (sent < length) {
    const auto *rest = reinterpret_cast<const uint8_t *>(from) + sent;
    session->unsent_.insert(session->unsent_.end(), rest, rest + (length - sent));
  }
  return 1;
}

long TlsSession::BioControl(BIO *bio, int command, long, void *) {
  auto *session = static_cast<TlsSession *>(BIO_get_data(bio));
  switch (command) {
  case BIO_CTRL_FLUSH:
    return 1;
  case BIO_CTRL_EOF:
    return session->is_ended_;
  default:
    return 0;
  }
}

} // namespace culvert
