// What the script does about TLS: it accepts peers, refuses them, or lets them wait.
#include "script.h"

namespace culvert::driver {
namespace {

constexpr int32_t kLongMs = 100'000;

} // namespace

Stream *Script::ConnectTls(uint16_t port) {
  Stream *stream = Connect(port);
  if (stream == nullptr) return nullptr;
  Apply(); // may have failed at once
  if (model_.IsAlive(*stream)) StartTls(*stream, false);
  return stream;
}

void Script::StartTls(Stream &stream, bool is_server) {
  int32_t context = random_.OneIn(8) ? kFleeting : random_.OneIn(16) ? kDistrusting : random_.OneIn(4) ? kOneSided : kMutual;
  int32_t timeout_ms = random_.OneIn(16) ? int32_t(random_.Below(20)) : kLongMs;
  AddFor(stream, {int32_t(Command::kStartTls), 0, 0, context, is_server, timeout_ms, kProtocols});
  model_.StartedTls(stream, context, is_server, timeout_ms != kLongMs);
  Apply(); // may have failed at once
}

void Script::OnEstablished(Stream &stream, const int32_t *event) {
  Held certificate{event[3], event[4], event[5], event[6]};
  model_.Established(stream, certificate, event[7]);
  if (certificate.length > 0) Release(certificate);
  if (stream.is_closing) return;
  // What is not decided now is decided later by DisturbTls, or never.
  if (is_settling_ || !random_.OneIn(3)) {
    Accept(stream);
  } else if (random_.OneIn(6)) {
    Refuse(stream);
  }
}

void Script::Accept(Stream &stream) {
  bool is_alive = model_.IsAlive(stream);
  AddFor(stream, {int32_t(Command::kTlsAccept)});
  if (is_alive) stream.tls = Tls::kAccepted;
}

void Script::Refuse(Stream &stream) {
  refused_ += stream.tls == Tls::kEstablished;
  ReleaseHeld(stream);
  AddFor(stream, {int32_t(Command::kTlsRefuse), 0, 0, kRefusal});
  model_.Closing(stream);
}

void Script::DisturbTls(Stream &stream) {
  bool is_undecided = stream.tls == Tls::kEstablished;
  if (is_undecided && random_.OneIn(2)) {
    accepted_late_++;
    Accept(stream);
    return;
  }
  // Before it is accepted its peer expects no reason.
  if (stream.tls != Tls::kAccepted && random_.OneIn(16)) {
    if (random_.OneIn(3)) {
      Reset(stream);
    } else if (random_.OneIn(2)) {
      Refuse(stream);
    } else {
      AddFor(stream, {int32_t(Command::kClose)});
      ReleaseHeld(stream);
      model_.Closing(stream);
    }
    return;
  }
  // One that is known can be told what happens to its stream.
  uint64_t id = IdOf(stream);
  if (stream.tls == Tls::kAccepted && id != 0 && random_.OneIn(16)) {
    broken[id] = 1;
    Refuse(stream);
    return;
  }
  // These change nothing.
  AddFor(stream, {int32_t(Command::kStartTls), 0, 0, kMutual, 1, 1, kProtocols});
  if (stream.tls == Tls::kAccepted) AddFor(stream, {int32_t(Command::kTlsAccept)});
}

} // namespace culvert::driver
