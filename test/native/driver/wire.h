// A peer's socket, plain or with TLS by the distribution's OpenSSL. TLS writes into memory and reads from it, so that the
// driver decides which encrypted bytes leave, and when.
#pragma once

#include "check.h"

#include <openssl/ssl.h>
#include <sys/types.h>
#include <vector>

namespace culvert::driver {

enum class Got {
  kBytes,
  kNothing,   // so far
  kEnd,       // FIN; of TLS: close_notify
  kTruncated, // FIN without close_notify
  kAlert,     // a fatal one: Alert()
  kReset
};

class Wire {
public:
  // Both are the wire's from here on.
  explicit Wire(int fd, SSL *ssl = nullptr);
  // Closes the socket: RST after ResetOnClose(), else FIN, and never a close_notify.
  ~Wire();
  Wire(const Wire &) = delete;
  Wire &operator=(const Wire &) = delete;

  bool IsTls() const { return ssl_ != nullptr; }
  // Nothing can be sent any more.
  bool HasFailed() const { return has_failed_; }
  // Bytes can be sent.
  bool IsOpen() const { return ssl_ == nullptr || SSL_is_init_finished(ssl_) != 0; }
  // How many bytes were taken. -1: the connection is gone.
  ssize_t Send(const uint8_t *bytes, size_t length);
  Got Receive(uint8_t *to, size_t most, size_t *bytes);
  int Alert() const { return alert_; }
  // Says, when what was sent before has left, that nothing follows. True when that has left too.
  bool End();
  void ResetOnClose();

  // Of TLS: its handshake leaves a byte at a time; nothing of it leaves.
  void Dribble(bool dribbles) { dribbles_ = dribbles; }
  void Stall(bool stalls) { stalls_ = stalls; }
  void UpdateKeys(bool asks_for_one);
  // Sends a record with one bit wrong.
  void Spoil();
  // Sends a part of a record.
  void SendPart(Random &random);

private:
  void Move();
  void Collect();
  void Flush();
  Got Diagnose(int result);

  int fd_;
  SSL *ssl_;
  BIO *in_ = nullptr;  // the session's
  BIO *out_ = nullptr; //
  std::vector<uint8_t> unsent_;
  int alert_ = 0;
  bool ends_ = false;
  bool has_said_so_ = false; // close_notify is among what is unsent
  bool fin_sent_ = false;
  bool is_reset_ = false;
  bool has_failed_ = false; // writing
  bool dribbles_ = false;
  bool stalls_ = false;
};

} // namespace culvert::driver
