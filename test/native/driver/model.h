// The simple model of one reactor: what the script knows of it, and what each event may be after what was commanded.
//
//   accepted ───────────────┐
//                           ├─(TLS: established, then accepted by us)─> open ──(data | end | blocked | drained)*──> closed
//   reserved ──(connected)──┘
//
// Checked for every event: its handle is open, under that generation; data only of a block that nobody else holds,
// never before `connected`, after `end`, or in a round after a pause or a close; `blocked` and `drained` in turn;
// `closed` once, without an error only when it was commanded; a timer only when it is set and due. And the number of
// stale handles. Of TLS: `established` once, with a certificate that its context trusts; no data and no end before the
// peer is accepted; an end only of a stream that someone has ended cleanly; a failure only where something could fail.
#pragma once

#include "canary.h"
#include "credentials.h"
#include "reactor/reactor.h"

#include <deque>
#include <unordered_map>

namespace culvert::driver {

struct Held {
  int32_t block;
  int32_t generation;
  int32_t offset;
  int32_t length;
};

enum class Tls { kNone, kStarted, kEstablished, kAccepted };

// A connection as the script knows it.
struct Stream {
  int32_t index;
  uint32_t generation;
  int32_t partner; // where its bytes go; itself: an echo
  Follower came;
  bool is_ours = false; // we connected it
  bool never_connects = false;
  bool is_connected = false;
  bool has_ended = false;
  bool is_closing = false; // commanded
  bool is_paused = false;
  bool is_blocked = false;
  Tls tls = Tls::kNone;
  int32_t context = 0;
  bool is_server = false;
  bool may_time_out = false; // before its peer is accepted
  bool must_fail = false;   // data came although it was paused: a write has failed
  uint64_t quiet_after = 0; // the round in which it was paused or closed
  std::deque<Held> held;    // read and not yet written on
};

class Model {
public:
  static constexpr int kFailures = int(TlsFailure::kNoContext) + 1;

  Model(Reactor &reactor, const double *stats) : reactor_(reactor), stats_(stats) {}

  Stream &Opened(int32_t index, uint32_t generation, bool is_ours);
  Stream *Find(int32_t index);
  // Whether the reactor still knows the handle: its `closed` may be on the way.
  bool IsAlive(const Stream &stream) const {
    return reactor_.Generations()[stream.index] == stream.generation && !stream.is_closing;
  }

  void RoundBegins() { round_++; }
  // The stream of the event, after the checks that every event has in common.
  Stream &Told(const int32_t *event);
  // Takes the block; checks whose bytes they are.
  void Data(Stream &stream, const Held &held);
  void End(Stream &stream);
  void Connected(Stream &stream);
  void Blocked(Stream &stream, bool is_blocked);
  void StartedTls(Stream &stream, int32_t context, bool is_server, bool may_time_out);
  // Takes the block with the certificate, if there is one.
  void Established(Stream &stream, const Held &certificate, int32_t protocol);
  // The handle is dead; the stream is handed out with what it held.
  Stream Closed(Stream &stream, const int32_t *event);

  void Paused(Stream &stream, bool is_paused);
  void Closing(Stream &stream);
  void GivenUp(const Held &held);
  void ExpectStale() { stale_++; }
  void CheckStale() const {
    CHECK(stats_[kStatStaleHandles] == double(stale_), "%.0f stale handles counted, %lu were used",
          stats_[kStatStaleHandles], stale_);
  }

  void TimerSet(int32_t id, int64_t after_ms) { timers_[id] = Timers::NowNs() + after_ms * 1'000'000; }
  void TimerCleared(int32_t id) { timers_.erase(id); }
  void TimerFired(int32_t id);

  // At rest: nothing open, nothing held, no timer due.
  bool IsAtRest() const { return streams_.empty() && timers_.empty() && blocks_.empty(); }
  // At rest: what the reactor counts of TLS is what it told.
  void CheckTls() const;
  long Failures(TlsFailure failure) const { return failures_[int(failure)]; }
  std::unordered_map<int32_t, Stream> &Streams() { return streams_; }

  // Handles and blocks of the past, to be used again although they are dead.
  struct Dead {
    int32_t index;
    uint32_t generation;
  };
  std::deque<Dead> dead_connections;
  std::deque<Held> dead_blocks;

private:
  static constexpr size_t kRemembered = 64;

  void TakeBlock(const Held &held);
  void CheckFailure(const Stream &stream, int error, TlsFailure failure) const;

  Reactor &reactor_;
  const double *stats_;
  uint64_t round_ = 0;
  uint64_t stale_ = 0;
  long established_ = 0;
  long failures_[kFailures] = {};
  std::unordered_map<int32_t, Stream> streams_;
  std::unordered_map<int32_t, uint32_t> generations_; // the last one told, by index
  std::unordered_map<int32_t, int32_t> blocks_;       // held by the script
  std::unordered_map<int32_t, int64_t> timers_;       // by id: when due
};

} // namespace culvert::driver
