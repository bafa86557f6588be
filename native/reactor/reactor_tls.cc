// TLS between socket and blocks. Handshakes go on at the end of a round, a step or a few small ones, and for 1 ms in
// each turn: connections with bytes wait for a step, not for a crowd of new ones (`neighbour_p99_us_storm`). Between
// the handshake's end and the script's word nothing is read or written; after it, reading and writing mean what they
// mean on a plain connection.
#include "reactor/reactor.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace culvert {
namespace {

constexpr int64_t kHandshakesPerTurnNs = 1'000'000;
// About one step; looking for other work costs far less.
constexpr int64_t kHandshakesPerRoundNs = 100'000;
constexpr int kMaxReadBlocks = 8;
constexpr size_t kPastEndBytes = 256 * 1024;
// A block's worth in a full record. And what a step of a handshake takes: in records of one byte that is half a
// millisecond's work.
constexpr size_t kRecordOnWireBytes = kBlockBytes + 64;
constexpr size_t kHandshakeBytes = 8 * 1024;

// As recv(): takes bytes and writes them nowhere. (test/native/no-races.txt knows its name.)
ssize_t DiscardBytes(int fd) {
  return recv(fd, nullptr, kPastEndBytes, MSG_TRUNC);
}

// Closing with bytes unread sends RST, and some peers then never see the alert.
void EndAfterAlert(int fd) {
  shutdown(fd, SHUT_WR);
  DiscardBytes(fd);
}

} // namespace

void Reactor::ExecuteStartTls(const int32_t *words) {
  Connection *connection = Find(words);
  if (connection == nullptr || connection->Has(kTls | kFinRequested)) return;
  int32_t index = words[1];
  std::shared_ptr<TlsContext> context = TlsContexts::Instance().Find(words[3]);
  std::unique_ptr<TlsSession> session;
  if (context != nullptr)
    session = TlsSession::Create(std::move(context), {words[4] == 1, uint32_t(words[6]), words[5], config_.stats});
  if (session == nullptr) {
    Finish(index, EPROTO, TlsFailure::kNoContext);
    return;
  }
  if (tls_.empty()) slab_.Keep(1);
  if (tls_.size() <= size_t(index)) tls_.resize(size_t(index) + 1);
  tls_[index] = std::move(session);
  connection->Set(kTls | kTlsPending);
  config_.stats[kStatTlsSessions]++;
  if (!connection->Has(kReserved | kConnecting)) BeginHandshake(index);
}

void Reactor::BeginHandshake(int32_t index) {
  Connection &connection = connections_[index];
  TlsSession &session = *tls_[index];
  session.Attach(connection.fd);
  connection.timer_stamp = timers_.Set(Timers::Kind::kConnection, index, session.TimeoutMs());
  AddHandshake(index);
}

void Reactor::AddHandshake(int32_t index) {
  Connection &connection = connections_[index];
  if (connection.Has(kInHandshakes) || tls_[index]->IsEstablished()) return;
  connection.Set(kInHandshakes);
  handshakes_.push_back(index);
}

bool Reactor::MayHandshake() const {
  return handshakes_ns_ < kHandshakesPerTurnNs;
}

void Reactor::RunHandshakes() {
  int64_t until_ns = std::min(handshakes_ns_ + kHandshakesPerRoundNs, kHandshakesPerTurnNs);
  while (!handshakes_.empty() && CanHandshake() && handshakes_ns_ < until_ns) {
    int32_t index = handshakes_.front();
    handshakes_.pop_front();
    if (!connections_[index].Has(kInHandshakes)) continue; // the slot was freed
    connections_[index].Clear(kInHandshakes);
    int64_t began_ns = Timers::NowNs();
    Handshake(index);
    handshakes_ns_ += Timers::NowNs() - began_ns;
  }
}

void Reactor::Handshake(int32_t index) {
  Connection &connection = connections_[index];
  TlsSession &session = *tls_[index];
  session.LookAgain(connection.Has(kHungUp), kHandshakeBytes);
  TlsResult result = session.Handshake();
  if (result == TlsResult::kFailed) {
    FailTls(index);
    return;
  }
  if (session.Unsent() > 0) connection.Set(kBlockedWrite);
  if (result == TlsResult::kDone) {
    TellEstablished(index);
  } else if (result == TlsResult::kMore) {
    AddHandshake(index);
  } else {
    connection.Clear(kReadable);
  }
}

void Reactor::TellEstablished(int32_t index) {
  const Connection &connection = connections_[index];
  const TlsSession &session = *tls_[index];
  X509 *certificate = session.PeerCertificate();
  int bytes = certificate == nullptr ? 0 : i2d_X509(certificate, nullptr);
  if (bytes < 0 || bytes > kBlockBytes) {
    tls_[index]->SendAlert(SSL_AD_BAD_CERTIFICATE);
    EndAfterAlert(connection.fd);
    Finish(index, EPROTO, TlsFailure::kBadCertificate, SSL_AD_BAD_CERTIFICATE);
    return;
  }
  config_.stats[kStatTlsEstablished]++;
  int32_t *words = events_.Add(Event::kTlsEstablished, index, connection.generation);
  words[7] = session.Protocol();
  if (bytes == 0) return;
  int32_t block = slab_.Take(); // there is one: RunHandshakes has looked
  uint8_t *to = slab_.At(block);
  i2d_X509(certificate, &to);
  words[3] = block;
  words[4] = int32_t(slab_.Generation(block));
  words[5] = block * kBlockBytes;
  words[6] = bytes;
}

void Reactor::ExecuteTlsAccept(const int32_t *words) {
  Connection *connection = Find(words);
  if (connection == nullptr || !connection->Has(kTlsPending) || !tls_[words[1]]->IsEstablished()) return;
  connection->Clear(kTlsPending);
  connection->timer_stamp = 0;
  connection->Set(kReadable); // OpenSSL may have read more than the handshake
  AddReady(words[1]);
  AddDirty(words[1]);
}

void Reactor::ExecuteTlsRefuse(const int32_t *words) {
  Connection *connection = Find(words);
  if (connection == nullptr) return;
  if (connection->Has(kTls) && tls_[words[1]]->IsEstablished()) tls_[words[1]]->SendAlert(words[3]);
  EndAfterAlert(connection->fd);
  Finish(words[1], 0);
}

// What the socket did not take of the handshake.
void Reactor::FlushHandshake(int32_t index) {
  Connection &connection = connections_[index];
  TlsSession &session = *tls_[index];
  if (connection.Has(kConnecting | kBlockedWrite) || session.Unsent() == 0) return;
  // A failure is found by reading.
  if (session.FlushUnsent() && session.Unsent() > 0) connection.Set(kBlockedWrite);
}

// The session ended by itself: its alert, if any, is on its way.
void Reactor::FailTls(int32_t index) {
  const Connection &connection = connections_[index];
  const TlsSession &session = *tls_[index];
  if (session.SocketError() != 0) {
    Finish(index, connection.write_error != 0 ? connection.write_error : session.SocketError());
    return;
  }
  EndAfterAlert(connection.fd);
  Finish(index, EPROTO, session.Failure(), session.Alert());
}

void Reactor::ReadTls(int32_t index) {
  Connection &connection = connections_[index];
  TlsSession &session = *tls_[index];
  if (connection.Has(kEndSeen)) {
    ReadPastEnd(index);
    return;
  }
  int wanted = BlocksToRead(connection);
  session.LookAgain(connection.Has(kHungUp), size_t(wanted + 1) * kRecordOnWireBytes);
  int filled = 0;
  TlsResult result = TlsResult::kDone;
  while (filled < wanted && result == TlsResult::kDone) {
    int32_t block = slab_.Take();
    size_t bytes = 0;
    result = session.Read(slab_.At(block), kBlockBytes, &bytes);
    if (bytes == 0) {
      slab_.Release(block);
      break;
    }
    filled++;
    int32_t *words = events_.Add(Event::kData, index, connection.generation);
    words[3] = block;
    words[4] = int32_t(slab_.Generation(block));
    words[5] = block * kBlockBytes;
    words[6] = int32_t(bytes);
  }
  if (result == TlsResult::kDone) {
    connection.read_blocks = uint8_t(std::min(kMaxReadBlocks, wanted * 2));
    return;
  }
  connection.read_blocks = uint8_t(std::max(1, filled));
  if (result == TlsResult::kMore) return;
  connection.Clear(kReadable);
  if (result == TlsResult::kFailed) {
    FailTls(index);
  } else if (connection.write_error != 0) {
    Finish(index, connection.write_error);
  } else if (result == TlsResult::kEnd) {
    connection.Set(kEndSeen);
    events_.Add(Event::kEnd, index, connection.generation);
    // FIN and RST whose edges have been seen already are told only by another look.
    if (connection.Has(kHungUp)) connection.Set(kReadable);
  }
}

// After close_notify: bytes mean nothing any more, RST does.
void Reactor::ReadPastEnd(int32_t index) {
  Connection &connection = connections_[index];
  ssize_t bytes = DiscardBytes(connection.fd);
  if (bytes > 0) return;
  connection.Clear(kReadable);
  int error = bytes < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR ? errno : 0;
  if (bytes == 0 && connection.Has(kFailed)) error = SocketError(connection.fd);
  if (connection.write_error != 0) error = connection.write_error;
  if (error != 0) Finish(index, error);
}

// As WriteQueued: false when writing failed.
bool Reactor::WriteTls(int32_t index) {
  Connection &connection = connections_[index];
  TlsSession &session = *tls_[index];
  if (session.IsInMessage()) {
    // Writing reads the rest, though the script may have paused reading; and perhaps what comes after it.
    session.LookAgain(connection.Has(kHungUp), kRecordOnWireBytes);
    connection.Set(kReadable);
    AddReady(index);
  }
  bool is_ok = session.FlushUnsent();
  while (is_ok && session.Unsent() == 0 && connection.queue_head != Connection::kNone) {
    Record record = NextRecord(connection);
    is_ok = session.Write(record.bytes, record.length, record.more_follow);
    if (session.IsInMessage()) break;
    ConsumeQueue(connection, record.length);
  }
  if (!is_ok) {
    connection.write_error = session.WriteError();
    DropQueue(connection);
    return false;
  }
  // A stream that ends with RST must not look whole.
  if (connection.queue_head == Connection::kNone && connection.Has(kFinRequested | kCloseRequested) &&
      !connection.Has(kResetRequested))
    session.SendCloseNotify();
  return true;
}

// A full record's worth of the queue's bytes, or all there are: where they lie or, of several slices, copied together.
Reactor::Record Reactor::NextRecord(const Connection &connection) {
  constexpr size_t kMost = TlsSession::kRecordBytes;
  const Slice &head = slices_[connection.queue_head];
  auto head_length = size_t(head.length);
  if (head.next == Connection::kNone || head_length >= kMost) {
    bool more_follow = head.next != Connection::kNone || head_length > kMost;
    return {slab_.Memory() + head.offset, std::min(head_length, kMost), more_follow};
  }
  if (record_ == nullptr) record_ = std::make_unique<uint8_t[]>(kMost);
  size_t length = 0;
  for (int32_t at = connection.queue_head; at != Connection::kNone; at = slices_[at].next) {
    size_t taken = std::min(size_t(slices_[at].length), kMost - length);
    memcpy(record_.get() + length, slab_.Memory() + slices_[at].offset, taken);
    length += taken;
    if (taken < size_t(slices_[at].length) || (length == kMost && slices_[at].next != Connection::kNone))
      return {record_.get(), length, true};
  }
  return {record_.get(), length, false};
}

} // namespace culvert
