// The reactor with a script in C++ that relays as src/proxy/stream.ts does: the native half of Culvert alone.
#pragma once

#include "reactor/reactor.h"
#include "relay_sockets.h"

#include <poll.h>
#include <vector>

namespace relay {

using namespace culvert;

class ReactorRelay {
public:
  ReactorRelay(int listener, uint16_t target)
      : target_(target), stats_(kStatCount), reactor_({4096, 0, false, stats_.data()}), sides_(kMaxConnections) {
    reactor_.SetScript([this](int begin, int end) { return Script(begin, end); });
    int32_t *words = Command(culvert::Command::kListen, -1);
    words[1] = listener;
    words[3] = 1;
    words[4] = -1;
    Apply();
  }

  [[noreturn]] void Run() {
    for (;;) {
      pollfd ready{reactor_.EpollFd(), POLLIN, 0};
      if (poll(&ready, 1, -1) > 0) reactor_.Turn();
    }
  }

private:
  struct Side {
    int32_t other = -1;
    uint32_t generation = 0;
    bool has_ended = false;
  };

  int Script(int begin, int end) {
    const int32_t *words = reactor_.Events().Words();
    for (int at = begin; at < end; at += kRecordWords) {
      const int32_t *event = words + at;
      int32_t index = event[1];
      Side &side = sides_[size_t(index)];
      switch (Event(event[0])) {
      case Event::kAccepted:
        Open(index, uint32_t(event[2]));
        at += (kAcceptedRecords - 1) * kRecordWords;
        break;
      case Event::kConnected:
        Command(culvert::Command::kResume, side.other);
        break;
      case Event::kData: {
        int32_t *write = Command(culvert::Command::kWrite, side.other);
        for (int i = 3; i < 7; i++)
          write[i] = event[i];
        write[7] = 1;
        break;
      }
      case Event::kEnd:
        side.has_ended = true;
        if (side.other < 0) break;
        if (sides_[size_t(side.other)].has_ended) {
          Command(culvert::Command::kClose, side.other);
          Command(culvert::Command::kClose, index);
        } else {
          Command(culvert::Command::kShutdown, side.other);
        }
        break;
      case Event::kBlocked:
        Command(culvert::Command::kPause, side.other);
        break;
      case Event::kDrained:
        Command(culvert::Command::kResume, side.other);
        break;
      case Event::kClosed:
        if (event[3] != 0) Command(culvert::Command::kReset, side.other);
        break;
      default:
        break;
      }
    }
    int filled = filled_;
    filled_ = 0;
    return filled;
  }

  void Open(int32_t index, uint32_t generation) {
    int32_t upstream = reactor_.Reserve();
    sides_[size_t(index)] = {upstream, generation, false};
    sides_[size_t(upstream)] = {index, reactor_.Generations()[upstream], false};
    Command(culvert::Command::kPause, index);
    int32_t *words = Command(culvert::Command::kConnect, upstream, kConnectRecords);
    words[3] = -1;
    words[5] = 5000;
    words[10] = 0xffff;
    words[11] = INADDR_LOOPBACK;
    words[16] = target_;
    words[18] = -1; // no bypass map
  }

  int32_t *Command(culvert::Command command, int32_t index, int records = 1) {
    if (filled_ + records * kRecordWords > int(reactor_.Commands().size())) Apply();
    int32_t *words = reactor_.Commands().data() + filled_;
    filled_ += records * kRecordWords;
    std::fill(words, words + records * kRecordWords, 0);
    words[0] = int32_t(command);
    words[1] = index;
    if (index >= 0) words[2] = int32_t(sides_[size_t(index)].generation);
    return words;
  }

  void Apply() {
    int words = filled_;
    filled_ = 0;
    reactor_.Submit(words);
  }

  uint16_t target_;
  std::vector<double> stats_;
  Reactor reactor_;
  std::vector<Side> sides_;
  int filled_ = 0;
};

} // namespace relay
