#include "model.h"

#include <cerrno>

namespace culvert::driver {

Stream &Model::Opened(int32_t index, uint32_t generation, bool is_ours) {
  CHECK(streams_.count(index) == 0, "handle %d was given out twice", index);
  uint32_t &last = generations_[index];
  CHECK(generation > last, "handle %d has generation %u again, after %u", index, generation, last);
  last = generation;
  Stream &stream = streams_[index];
  stream.index = index;
  stream.generation = generation;
  stream.partner = index;
  stream.is_ours = is_ours;
  stream.is_connected = !is_ours;
  return stream;
}

Stream *Model::Find(int32_t index) {
  auto found = streams_.find(index);
  return found == streams_.end() ? nullptr : &found->second;
}

Stream &Model::Told(const int32_t *event) {
  Stream *stream = Find(event[1]);
  CHECK(stream != nullptr && stream->generation == uint32_t(event[2]), "event %d of a dead handle %d", event[0],
        event[1]);
  return *stream;
}

void Model::Data(Stream &stream, const Held &held) {
  CHECK(stream.is_connected, "data before connected");
  CHECK(!stream.has_ended, "data after the end");
  CHECK(stream.tls == Tls::kNone || stream.tls == Tls::kAccepted, "data of a peer that is not accepted");
  TakeBlock(held);
  if (stream.is_paused || stream.is_closing) {
    CHECK(!stream.is_closing || round_ <= stream.quiet_after, "data after a close");
    // A connection that fails while writing is read to its end first, paused or not.
    if (round_ > stream.quiet_after) stream.must_fail = true;
  }
  stream.came.Follow(reactor_.Blocks().Memory() + held.offset, size_t(held.length), "script");
}

void Model::TakeBlock(const Held &held) {
  CHECK(held.length > 0 && held.length <= kBlockBytes, "%d bytes", held.length);
  CHECK(held.offset == held.block * kBlockBytes, "block %d at %d", held.block, held.offset);
  CHECK(reactor_.Blocks().IsCurrent(held.block, uint32_t(held.generation)), "data in a free block %d", held.block);
  CHECK(blocks_.emplace(held.block, held.generation).second, "block %d is held already", held.block);
}

void Model::End(Stream &stream) {
  CHECK(stream.is_connected && !stream.has_ended, "an end that may not be");
  CHECK(stream.tls == Tls::kNone || stream.tls == Tls::kAccepted, "the end of a peer that is not accepted");
  if (stream.tls != Tls::kNone && stream.came.IsKnown())
    CHECK(clean_ends[stream.came.id] != 0, "stream %lu was not ended by anybody", stream.came.id);
  CHECK(!stream.must_fail, "data while paused, and no failure");
  stream.has_ended = true;
}

void Model::Connected(Stream &stream) {
  CHECK(stream.is_ours && !stream.is_connected && !stream.never_connects, "connected, which it cannot be");
  stream.is_connected = true;
}

void Model::Blocked(Stream &stream, bool is_blocked) {
  CHECK(stream.is_blocked != is_blocked, "blocked or drained twice");
  stream.is_blocked = is_blocked;
}

void Model::StartedTls(Stream &stream, int32_t context, bool is_server, bool may_time_out) {
  stream.tls = Tls::kStarted;
  stream.context = context;
  stream.is_server = is_server;
  stream.may_time_out = may_time_out;
}

void Model::Established(Stream &stream, const Held &certificate, int32_t protocol) {
  CHECK(stream.tls == Tls::kStarted && stream.is_connected, "established in state %d", int(stream.tls));
  CHECK(!stream.is_closing || round_ <= stream.quiet_after + 1, "established after a close");
  CHECK(protocol == 0, "protocol %d", protocol);
  stream.tls = Tls::kEstablished;
  established_++;
  if (certificate.length == 0) {
    CHECK(stream.context == kOneSided && stream.is_server, "no certificate, context %d", stream.context);
    return;
  }
  TakeBlock(certificate);
  const uint8_t *der = reactor_.Blocks().Memory() + certificate.offset;
  const Credentials &credentials = Credentials::Instance();
  bool is_trusted = stream.context == kDistrusting ? credentials.IsStranger(der, size_t(certificate.length))
                                                   : credentials.IsOfMesh(der, size_t(certificate.length));
  CHECK(is_trusted, "context %d: a certificate that it does not trust", stream.context);
}

void Model::CheckFailure(const Stream &stream, int error, TlsFailure failure) const {
  if (failure == TlsFailure::kNone) {
    CHECK(error != EPROTO, "closed with EPROTO for no reason");
    CHECK(error != ETIMEDOUT || !stream.is_connected || stream.is_closing, "timed out, though it was open");
    return;
  }
  CHECK(stream.tls != Tls::kNone, "failure %d without TLS", int(failure));
  CHECK(error == (failure == TlsFailure::kTimeout ? ETIMEDOUT : EPROTO), "failure %d, errno %d", int(failure), error);
  if (failure == TlsFailure::kTimeout)
    CHECK(stream.may_time_out && stream.tls != Tls::kAccepted, "timed out in state %d", int(stream.tls));
  if (failure == TlsFailure::kNoContext)
    CHECK(stream.context == kFleeting && stream.tls == Tls::kStarted, "no context %d", stream.context);
  if (stream.tls == Tls::kAccepted) {
    CHECK(failure == TlsFailure::kTruncated || failure == TlsFailure::kPeerAlert || failure == TlsFailure::kProtocol,
          "failure %d of an open connection", int(failure));
    if (stream.came.IsKnown())
      CHECK(broken[stream.came.id] != 0, "stream %lu: failure %d, for no reason", stream.came.id, int(failure));
  }
}

void Model::CheckTls() const {
  CHECK(stats_[kStatTlsSessions] == 0, "%.0f sessions are open", stats_[kStatTlsSessions]);
  CHECK(stats_[kStatTlsEstablished] == double(established_), "%.0f established, %ld were told",
        stats_[kStatTlsEstablished], established_);
  long failures = 0;
  for (int i = 1; i < int(TlsFailure::kNoContext); i++)
    failures += failures_[i];
  CHECK(stats_[kStatTlsFailures] == double(failures), "%.0f failures, %ld were told", stats_[kStatTlsFailures],
        failures);
}

Stream Model::Closed(Stream &stream, const int32_t *event) {
  int error = event[3];
  bool was_connected = event[4] != 0;
  auto failure = TlsFailure(event[5]);
  CheckFailure(stream, error, failure);
  failures_[int(failure)]++;
  CHECK(error != 0 || stream.is_closing, "closed without error or command");
  CHECK(was_connected == stream.is_connected, "closed: had been connected %d, was told %d", was_connected,
        stream.is_connected);
  CHECK(!stream.must_fail || error != 0 || stream.is_closing, "data while paused, and no failure");
  Stream closed = std::move(stream);
  streams_.erase(closed.index);
  dead_connections.push_back({closed.index, closed.generation});
  if (dead_connections.size() > kRemembered) dead_connections.pop_front();
  return closed;
}

void Model::Paused(Stream &stream, bool is_paused) {
  stream.is_paused = is_paused;
  stream.quiet_after = round_;
}

void Model::Closing(Stream &stream) {
  stream.is_closing = true;
  stream.quiet_after = round_;
}

void Model::GivenUp(const Held &held) {
  CHECK(blocks_.erase(held.block) == 1, "block %d is not held", held.block);
  dead_blocks.push_back(held);
  if (dead_blocks.size() > kRemembered) dead_blocks.pop_front();
}

void Model::TimerFired(int32_t id) {
  auto timer = timers_.find(id);
  CHECK(timer != timers_.end(), "timer %d is not set", id);
  CHECK(timer->second <= Timers::NowNs(), "timer %d fired %ld ns early", id, timer->second - Timers::NowNs());
  timers_.erase(timer);
}

} // namespace culvert::driver
