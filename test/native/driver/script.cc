#include "script.h"

#include <cerrno>
#include <netinet/in.h>

namespace culvert::driver {
namespace {

constexpr size_t kMostStreams = 96;
constexpr int32_t kTimerIds = 16;

} // namespace

int Script::Round(int begin, int end) {
  model_.RoundBegins();
  const int32_t *words = reactor_.Events().Words();
  for (int at = begin; at < end; at += kRecordWords) {
    const int32_t *event = words + at;
    switch (Event(event[0])) {
    case Event::kAccepted:
      OnAccepted(event);
      at += (kAcceptedRecords - 1) * kRecordWords;
      break;
    case Event::kConnected:
      OnConnected(model_.Told(event));
      break;
    case Event::kData:
      OnData(model_.Told(event), event);
      break;
    case Event::kEnd:
      OnEnd(model_.Told(event));
      break;
    case Event::kBlocked:
    case Event::kDrained: {
      Stream &stream = model_.Told(event);
      bool is_blocked = Event(event[0]) == Event::kBlocked;
      blocked_ += is_blocked;
      model_.Blocked(stream, is_blocked);
      // As the proxy does: what feeds it stops.
      Stream *source = model_.Find(stream.partner);
      if (source == nullptr || source->is_closing) break;
      AddFor(*source, {int32_t(is_blocked ? Command::kPause : Command::kResume)});
      model_.Paused(*source, is_blocked);
      break;
    }
    case Event::kClosed:
      OnClosed(model_.Told(event), event);
      break;
    case Event::kTlsEstablished:
      OnEstablished(model_.Told(event), event);
      break;
    case Event::kTimer:
      model_.TimerFired(event[1]);
      timers_fired_++;
      break;
    default:
      CHECK(false, "event %d is unknown", event[0]);
    }
  }
  int filled = filled_;
  filled_ = 0;
  return filled;
}

// --- events

void Script::OnAccepted(const int32_t *event) {
  Stream &stream = model_.Opened(event[1], uint32_t(event[2]), false);
  if (IsTlsListener(event[3])) StartTls(stream, true);
  if (!random_.OneIn(3) || model_.Streams().size() > kMostStreams) return; // an echo
  Stream *upstream = random_.OneIn(2)   ? Connect(ports_.mirror[0])
                     : random_.OneIn(2) ? ConnectTls(ports_.mirror[1])
                                        : ConnectTls(ports_.reactor); // which may relay it in turn
  if (upstream == nullptr) return;
  relays_++;
  upstream->partner = stream.index;
  stream.partner = upstream->index;
  // Mostly as the proxy does; or what comes before `connected` waits in the queue.
  if (random_.OneIn(4)) return;
  AddFor(stream, {int32_t(Command::kPause)});
  model_.Paused(stream, true);
}

void Script::OnConnected(Stream &stream) {
  model_.Connected(stream);
  Stream *downstream = model_.Find(stream.partner);
  if (stream.is_closing || downstream == nullptr || downstream == &stream || downstream->is_closing) return;
  AddFor(*downstream, {int32_t(Command::kResume)});
  model_.Paused(*downstream, false);
}

void Script::OnData(Stream &stream, const int32_t *event) {
  Held held{event[3], event[4], event[5], event[6]};
  model_.Data(stream, held);
  Stream *partner = model_.Find(stream.partner);
  if (stream.is_closing || partner == nullptr || partner->is_closing) {
    Release(held);
    return;
  }
  if (partner != &stream && partner->came.IsKnown() && stream.came.IsKnown())
    CHECK(partner->came.id == stream.came.id, "a relay of stream %lu brings %lu", partner->came.id, stream.came.id);
  stream.held.push_back(held);
  if (is_settling_ || stream.held.size() > 2 || !random_.OneIn(3)) Flush(stream);
}

void Script::OnEnd(Stream &stream) {
  model_.End(stream);
  if (stream.is_closing) return;
  Flush(stream);
  EndIfDone(stream);
}

void Script::OnClosed(Stream &stream, const int32_t *event) {
  int error = event[3];
  if (stream.never_connects) {
    bool has_no_context = TlsFailure(event[5]) == TlsFailure::kNoContext;
    CHECK(stream.is_closing || has_no_context || error == ECONNREFUSED || error == ETIMEDOUT || error == ENETDOWN,
          "closed: %d", error);
    refusals_++;
  }
  uint64_t id = IdOf(stream);
  Stream closed = model_.Closed(stream, event);
  ReleaseHeld(closed);
  // A stream that an error ended may be short: its source did it, or will be told by RST.
  if (error != 0 && id != 0) broken[id] = 1;
  Stream *partner = closed.partner == closed.index ? nullptr : model_.Find(closed.partner);
  if (partner == nullptr) return;
  partner->partner = partner->index; // nobody's bytes go there any more
  if (!partner->is_closing) Reset(*partner);
}

// --- commands

Stream *Script::Connect(uint16_t port) {
  int32_t index = reactor_.Reserve();
  if (index < 0) return nullptr;
  connects_++;
  Stream &stream = model_.Opened(index, reactor_.Generations()[index], true);
  stream.never_connects = port == 1 || port == ports_.silent;
  int32_t words[kConnectRecords * kRecordWords] = {int32_t(Command::kConnect), index, int32_t(stream.generation)};
  words[3] = random_.OneIn(2) ? ports_.own_netns : -1;
  words[5] = int32_t(stream.never_connects ? 1 + random_.Below(50) : 60'000);
  words[10] = 0xffff;
  words[11] = int32_t(INADDR_LOOPBACK + random_.Below(1 << 20));
  if (random_.OneIn(3)) { // from an address of its own
    words[14] = 0xffff;
    words[15] = int32_t(INADDR_LOOPBACK + random_.Below(1 << 20));
  }
  words[16] = port;
  words[18] = -1; // no bypass map
  for (int i = 0; i < kConnectRecords; i++) {
    Words record;
    memcpy(record.data(), words + i * kRecordWords, sizeof(record));
    Add(record, i == 0 ? kConnectRecords : 0);
  }
  return &stream;
}

void Script::ConnectOut() {
  if (is_settling_ || model_.Streams().size() > kMostStreams) return;
  bool is_tls = random_.OneIn(3);
  uint16_t port = random_.OneIn(8) ? 1 : random_.OneIn(8) ? ports_.silent : ports_.source[is_tls]; // 1: refused
  Stream *stream = is_tls ? ConnectTls(port) : Connect(port);
  if (stream == nullptr) return;
  Apply(); // may have failed at once
  if (!random_.OneIn(16) || stream->is_closing) return;
  // Before it could connect. A source there would not know why it is sent a FIN; RST needs no reason.
  if (port == ports_.source[is_tls]) {
    Reset(*stream);
  } else {
    BreakOff(*stream);
  }
  Apply();
}

void Script::Flush(Stream &stream) {
  Stream *to = model_.Find(stream.partner);
  while (!stream.held.empty()) {
    Held held = stream.held.front();
    stream.held.pop_front();
    if (to == nullptr || to->is_closing) {
      Release(held);
      continue;
    }
    Held rest = held;
    if (held.length > 1 && random_.OneIn(3)) { // in two pieces: the block is counted twice
      int32_t first = 1 + int32_t(random_.Below(uint32_t(held.length - 1)));
      AddFor(*to, {int32_t(Command::kWrite), 0, 0, held.block, held.generation, held.offset, first, 0});
      rest.offset += first;
      rest.length -= first;
    }
    AddFor(*to, {int32_t(Command::kWrite), 0, 0, held.block, held.generation, rest.offset, rest.length, 1});
    model_.GivenUp(held);
  }
}

// FIN for FIN; a stream whose two sides have ended is closed.
void Script::EndIfDone(Stream &stream) {
  if (!stream.has_ended || stream.is_closing) return;
  Stream *to = model_.Find(stream.partner);
  if (to == nullptr) return;
  if (uint64_t id = IdOf(stream); id != 0) clean_ends[id] = 1;
  if (!to->is_closing && (to != &stream || random_.OneIn(2))) AddFor(*to, {int32_t(Command::kShutdown)});
  if (!to->has_ended || !to->held.empty()) return;
  for (Stream *each : {to, &stream}) {
    if (each->is_closing) continue;
    AddFor(*each, {int32_t(Command::kClose)});
    model_.Closing(*each);
  }
}

void Script::BreakOff(Stream &stream) {
  uint64_t id = IdOf(stream);
  if (id != 0) broken[id] = 1;
  ReleaseHeld(stream);
  if (random_.OneIn(2)) {
    Reset(stream);
    return;
  }
  if (id != 0) clean_ends[id] = 1;
  AddFor(stream, {int32_t(Command::kClose), 0, 0, int32_t(random_.Below(20)), int32_t(random_.Below(2))});
  model_.Closing(stream);
}

void Script::Reset(Stream &stream) {
  ReleaseHeld(stream);
  AddFor(stream, {int32_t(Command::kReset)});
  model_.Closing(stream);
}

void Script::Release(const Held &held) {
  Add({int32_t(Command::kRelease), 0, 0, held.block, held.generation});
  model_.GivenUp(held);
}

void Script::ReleaseHeld(Stream &stream) {
  for (const Held &held : stream.held)
    Release(held);
  stream.held.clear();
}

// 0 while nothing is known of it.
uint64_t Script::IdOf(const Stream &stream) {
  if (stream.came.IsKnown()) return stream.came.id;
  Stream *partner = model_.Find(stream.partner);
  return partner != nullptr && partner->came.IsKnown() ? partner->came.id : 0;
}

// --- outside a turn

void Script::Disturb() {
  auto &streams = model_.Streams();
  if (streams.empty()) return;
  auto at = streams.begin();
  std::advance(at, random_.Below(uint32_t(std::min<size_t>(streams.size(), 32))));
  Stream &stream = at->second;
  if (stream.is_closing) return;
  if (stream.tls != Tls::kNone && random_.OneIn(2)) {
    DisturbTls(stream);
    Apply();
    return;
  }
  // A stream of which nothing is known is not broken off: its source could not be told why it misses bytes.
  switch (IdOf(stream) == 0 ? 1 + random_.Below(7) : random_.Below(8)) {
  case 0:
    BreakOff(stream);
    break;
  case 1:
  case 2:
    AddFor(stream, {int32_t(Command::kPause)});
    model_.Paused(stream, true);
    break;
  default:
    AddFor(stream, {int32_t(Command::kResume)});
    model_.Paused(stream, false);
    Flush(stream);
  }
  Apply();
}

// Whatever these did to a connection or a block of another stream, its canary or the model would show.
void Script::UseTheDead() {
  auto &dead = model_.dead_connections;
  auto &blocks = model_.dead_blocks;
  Words words{};
  words[1] = random_.OneIn(4) || dead.empty() ? int32_t(random_.Below(200)) - 2 : 0;
  words[2] = int32_t(0x40000000 + random_.Below(1000));
  if (words[1] == 0 && !dead.empty()) {
    Model::Dead handle = dead[random_.Below(uint32_t(dead.size()))];
    words[1] = handle.index;
    words[2] = int32_t(handle.generation);
  }
  constexpr Command kinds[] = {Command::kShutdown, Command::kClose,     Command::kReset,     Command::kPause,
                               Command::kResume,   Command::kConnect,   Command::kStartTls,  Command::kTlsAccept,
                               Command::kTlsRefuse, Command::kRelease,  Command::kWrite,     Command::kWrite};
  Command kind = kinds[random_.Below(12)];
  words[0] = int32_t(kind);
  int records = 1;
  if (kind == Command::kConnect) records = kConnectRecords;
  if (kind == Command::kRelease || kind == Command::kWrite) {
    Held block{int32_t(random_.Below(200)) - 2, int32_t(0x40000000 + random_.Below(1000)), 0, 100};
    if (!blocks.empty() && !random_.OneIn(4)) block = blocks[random_.Below(uint32_t(blocks.size()))];
    if (kind == Command::kWrite && random_.OneIn(2)) { // to one that is open
      for (auto &[index, stream] : model_.Streams()) {
        if (!model_.IsAlive(stream)) continue;
        words[1] = index;
        words[2] = int32_t(stream.generation);
        // And a slice that reaches out of a block that is held.
        if (!stream.held.empty() && random_.OneIn(2)) {
          block = stream.held.front();
          constexpr int32_t kTooFar[] = {-1, 1, kBlockBytes, -kBlockBytes};
          block.offset = block.block * kBlockBytes + kTooFar[random_.Below(4)];
          block.length = kBlockBytes;
          if (random_.OneIn(4)) block = {block.block, block.generation, block.block * kBlockBytes, 0};
        }
        break;
      }
    }
    words[3] = block.block;
    words[4] = block.generation;
    words[5] = block.offset;
    words[6] = block.length;
    words[7] = int32_t(random_.Below(2));
  }
  Add(words, records);
  for (int i = 1; i < records; i++)
    Add({}, 0);
  model_.ExpectStale();
  Apply();
}

void Script::SetTimers() {
  if (is_settling_) return;
  auto id = int32_t(random_.Below(kTimerIds));
  if (random_.OneIn(4)) {
    Add({int32_t(Command::kClearTimer), id});
    model_.TimerCleared(id);
  } else {
    auto ms = int32_t(random_.Below(20));
    Add({int32_t(Command::kSetTimer), id, 0, ms});
    model_.TimerSet(id, ms);
  }
  Apply();
}

void Script::ForgetNetns() {
  Add({int32_t(Command::kForgetNetns), ports_.own_netns});
  Apply();
}

void Script::Settle() {
  is_settling_ = true;
  for (auto &[index, stream] : model_.Streams()) {
    if (stream.is_closing) continue;
    if (stream.tls == Tls::kEstablished) Accept(stream);
    Flush(stream);
    if (stream.is_paused) {
      AddFor(stream, {int32_t(Command::kResume)});
      model_.Paused(stream, false);
    }
    EndIfDone(stream);
  }
  Apply();
}

void Script::BreakAll() {
  for (auto &[index, stream] : model_.Streams())
    if (uint64_t id = IdOf(stream); id != 0) broken[id] = 1;
}

// --- the command ring

void Script::Add(const Words &words, int records) {
  // A command of several records must not be torn.
  if (filled_ + std::max(records, 1) * kRecordWords > int(reactor_.Commands().size()) && records > 0) Apply();
  memcpy(reactor_.Commands().data() + filled_, words.data(), sizeof(words));
  filled_ += kRecordWords;
}

void Script::AddFor(const Stream &stream, Words words, int records) {
  words[1] = stream.index;
  words[2] = int32_t(stream.generation);
  if (!model_.IsAlive(stream)) model_.ExpectStale();
  Add(words, records);
}

void Script::Apply() {
  int words = filled_;
  filled_ = 0;
  if (words > 0) reactor_.Submit(words);
}

} // namespace culvert::driver
