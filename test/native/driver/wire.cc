#include "wire.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert::driver {
namespace {

constexpr size_t kMostIn = 32 * 1024;

bool IsTransient(int error) {
  return error == EAGAIN || error == EINTR;
}

} // namespace

Wire::Wire(int fd, SSL *ssl) : fd_(fd), ssl_(ssl) {
  fcntl(fd_, F_SETFL, O_NONBLOCK);
  if (ssl_ == nullptr) return;
  in_ = BIO_new(BIO_s_mem());
  out_ = BIO_new(BIO_s_mem());
  CHECK(in_ != nullptr && out_ != nullptr, "BIO_new");
  BIO_set_mem_eof_return(in_, -1);
  SSL_set_bio(ssl_, in_, out_);
}

Wire::~Wire() {
  SSL_free(ssl_);
  close(fd_);
}

void Wire::ResetOnClose() {
  linger reset{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

ssize_t Wire::Send(const uint8_t *bytes, size_t length) {
  if (ssl_ == nullptr) {
    ssize_t sent = send(fd_, bytes, length, MSG_NOSIGNAL);
    return sent < 0 && IsTransient(errno) ? 0 : sent;
  }
  Move();
  if (has_failed_) return -1;
  if (!IsOpen() || ends_ || !unsent_.empty()) return 0;
  ERR_clear_error();
  int sent = SSL_write(ssl_, bytes, int(length));
  Collect();
  Flush();
  return std::max(0, sent); // else reading says why
}

Got Wire::Receive(uint8_t *to, size_t most, size_t *bytes) {
  *bytes = 0;
  if (ssl_ == nullptr) {
    ssize_t got = recv(fd_, to, most, 0);
    if (got == 0) return Got::kEnd;
    if (got < 0) return IsTransient(errno) ? Got::kNothing : Got::kReset;
    *bytes = size_t(got);
    return Got::kBytes;
  }
  Move();
  // The error is told once: after it, the end of a stream that was reset looks like a FIN.
  if (has_failed_) return Got::kReset;
  if (stalls_) return Got::kNothing;
  ERR_clear_error();
  int result = IsOpen() ? 1 : SSL_do_handshake(ssl_);
  if (result == 1) result = SSL_read(ssl_, to, int(most));
  Got got = result > 0 ? Got::kBytes : Diagnose(result);
  if (result > 0) *bytes = size_t(result);
  Collect();
  Flush();
  return got;
}

bool Wire::End() {
  ends_ = true;
  if (ssl_ == nullptr) {
    shutdown(fd_, SHUT_WR);
    return true;
  }
  Move();
  return fin_sent_;
}

void Wire::UpdateKeys(bool asks_for_one) {
  if (ssl_ == nullptr || !IsOpen() || ends_ || !unsent_.empty()) return;
  ERR_clear_error();
  if (SSL_key_update(ssl_, asks_for_one ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
    SSL_do_handshake(ssl_);
  Collect();
  Flush();
}

void Wire::Spoil() {
  SSL_write(ssl_, "spoilt", 6);
  Collect();
  if (!unsent_.empty()) unsent_.back() ^= 1;
  Flush();
}

void Wire::SendPart(Random &random) {
  static const uint8_t zeros[1000]{};
  if (IsOpen()) SSL_write(ssl_, zeros, sizeof(zeros));
  Collect();
  if (!unsent_.empty()) unsent_.resize(random.Below(uint32_t(unsent_.size())));
  stalls_ = false;
  Flush();
}

// What can go in and out without the caller's words.
void Wire::Move() {
  if (ends_ && !has_said_so_ && IsOpen() && unsent_.empty()) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
    has_said_so_ = true;
    Collect();
  }
  Flush();
  uint8_t bytes[kMostIn];
  while (BIO_pending(in_) < int(kMostIn) && !is_reset_) {
    ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    if (got < 0 && IsTransient(errno)) return;
    if (got < 0) is_reset_ = true;
    if (got > 0) BIO_write(in_, bytes, int(got));
    if (got > 0) continue;
    BIO_set_mem_eof_return(in_, 0);
    return;
  }
}

void Wire::Collect() {
  size_t waiting = size_t(BIO_pending(out_));
  if (waiting == 0) return;
  size_t before = unsent_.size();
  unsent_.resize(before + waiting);
  CHECK(BIO_read(out_, unsent_.data() + before, int(waiting)) == int(waiting), "take %zu bytes", waiting);
}

void Wire::Flush() {
  size_t begin = 0;
  while (begin < unsent_.size() && !stalls_) {
    size_t offered = dribbles_ ? 1 : unsent_.size() - begin;
    ssize_t sent = send(fd_, unsent_.data() + begin, offered, MSG_NOSIGNAL);
    if (sent < 0 && !IsTransient(errno)) has_failed_ = true;
    if (sent < 0) break;
    begin += size_t(sent);
    if (dribbles_) break;
  }
  unsent_.erase(unsent_.begin(), unsent_.begin() + long(begin));
  if (!has_said_so_ || fin_sent_ || !unsent_.empty()) return;
  shutdown(fd_, SHUT_WR);
  fin_sent_ = true;
}

Got Wire::Diagnose(int result) {
  int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ) return is_reset_ ? Got::kReset : Got::kNothing;
  if (error == SSL_ERROR_ZERO_RETURN) return Got::kEnd;
  int reason = ERR_GET_REASON(ERR_peek_error());
  if (is_reset_) return Got::kReset;
  if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) return Got::kTruncated;
  CHECK(reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256, "a peer's session: %s",
        ERR_reason_error_string(ERR_peek_error()));
  alert_ = reason - SSL_AD_REASON_OFFSET;
  return Got::kAlert;
}

} // namespace culvert::driver
