// What TypeScript is in the real process: echoes streams or relays them to a mirror, late and in pieces; and, when told
// to, disturbs: pauses, closes, resets, and uses handles, slices and blocks that are dead or were never given out.
#pragma once

#include "model.h"

#include <array>

namespace culvert::driver {

struct Ports {
  uint16_t mirror[2]; // whoever connects here is mirrored; the second with TLS
  uint16_t source[2]; // whoever connects here is sent a source's stream; the second with TLS
  uint16_t reactor;   // of some worker, with TLS
  uint16_t silent; // its queue is full: connecting times out
  int own_netns;   // a descriptor of the namespace that the process is in, for sockets made by the netns thread
};

class Script {
public:
  Script(Reactor &reactor, Model &model, Random &random, const Ports &ports)
      : reactor_(reactor), model_(model), random_(random), ports_(ports) {}

  // A round of the reactor.
  int Round(int begin, int end);

  // Outside a turn.
  void ConnectOut();
  void Disturb();
  void UseTheDead();
  void SetTimers();
  void ForgetNetns();
  void Settle();
  // All that is open is about to be closed: its ends may miss bytes.
  void BreakAll();
  // Accepted connections of such listeners are to speak TLS.
  static bool IsTlsListener(int32_t id) { return id % 2 == 0; }

  long Connects() const { return connects_; }
  long Relays() const { return relays_; }
  long TimersFired() const { return timers_fired_; }
  long BlockedWrites() const { return blocked_; }
  long Refusals() const { return refusals_; }
  long Refused() const { return refused_; }
  long AcceptedLate() const { return accepted_late_; }

private:
  using Words = std::array<int32_t, kRecordWords>;

  void OnAccepted(const int32_t *event);
  void OnConnected(Stream &stream);
  void OnData(Stream &stream, const int32_t *event);
  void OnEnd(Stream &stream);
  void OnClosed(Stream &stream, const int32_t *event);

  // A reserved handle with its connect command.
  Stream *Connect(uint16_t port);
  // script_tls.cc
  Stream *ConnectTls(uint16_t port);
  void StartTls(Stream &stream, bool is_server);
  void OnEstablished(Stream &stream, const int32_t *event);
  void Accept(Stream &stream);
  void Refuse(Stream &stream);
  void DisturbTls(Stream &stream);
  void Flush(Stream &stream);
  void EndIfDone(Stream &stream);
  void BreakOff(Stream &stream);
  void Reset(Stream &stream);
  void Release(const Held &held);
  void ReleaseHeld(Stream &stream);
  uint64_t IdOf(const Stream &stream);

  void Add(const Words &words, int records = 1);
  // One for a handle that may be dead already.
  void AddFor(const Stream &stream, Words words, int records = 1);
  void Apply();

  Reactor &reactor_;
  Model &model_;
  Random &random_;
  const Ports &ports_;
  int filled_ = 0;
  bool is_settling_ = false;
  long connects_ = 0, relays_ = 0, timers_fired_ = 0, blocked_ = 0, refusals_ = 0;
  long refused_ = 0, accepted_late_ = 0;
};

} // namespace culvert::driver
