// Drives reactors with random events and commands, several at once in threads, and checks what must always hold:
// no byte of one connection appears on another, every handle is closed exactly once, and in the end all blocks and
// descriptors are back. Built without Node under sanitizers by scripts/test-native.sh.
//
// Usage: reactor_driver <workers> <steps per worker> <seed>
//
// A *peer* is a plain socket of this driver; its stream is 8 bytes of its id, then bytes that only that id makes. The
// *script* (what TypeScript is in the real process) checks each byte against the id, echoes streams in order, late and
// in pieces, and now and then pauses, closes, resets or uses handles that are dead. A peer checks that what comes back
// is a prefix of what it sent, and all of it if neither side broke off.
#include "reactor/reactor.h"

#include <arpa/inet.h>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <random>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>

using namespace culvert;

namespace {

constexpr size_t kMaxPeers = 48;
constexpr int32_t kBlocks = 24; // few: starvation is part of the test
constexpr int kListener = 5;

#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "FAILED %s:%d: %s: ", __FILE__, __LINE__, #condition);                                           \
      fprintf(stderr, __VA_ARGS__);                                                                                    \
      fprintf(stderr, "\n");                                                                                           \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

uint8_t ByteOf(uint64_t id, uint64_t position) {
  if (position < 8) return uint8_t(id >> (position * 8));
  uint64_t x = id * 0x9e3779b97f4a7c15 + (position >> 3) * 0xbf58476d1ce4e5b9;
  x ^= x >> 29;
  x *= 0x94d049bb133111eb;
  x ^= x >> 32;
  return uint8_t(x >> ((position & 7) * 8));
}

std::atomic<uint64_t> next_id{1};
// Streams that the script broke off: their peers may miss bytes. Indexed by id.
constexpr uint64_t kMaxIds = 4'000'000;
auto *broken = new std::atomic<uint8_t>[kMaxIds]();

struct Peer {
  int fd;
  uint64_t id;
  uint64_t sent = 0;
  uint64_t received = 0;
  bool fin_sent = false;
};

// What the script knows of a connection.
struct Known {
  uint32_t generation;
  uint64_t id = 0; // once its 8 bytes have come
  uint64_t received = 0;
  bool ended = false;
  bool closing = false;
  bool paused = false;
  struct Held {
    int32_t block;
    int32_t generation;
    int32_t offset;
    int32_t length;
  };
  std::deque<Held> held;
};

class Worker {
public:
  Worker(int index, int listener, uint16_t listener_port, uint64_t seed)
      : random_(seed * 1000 + uint64_t(index)), listener_port_(listener_port), stats_(kStatCount),
        reactor_({kBlocks, index, true, stats_.data()}) {
    CHECK(reactor_.Error() == 0, "errno %d", reactor_.Error());
    reactor_.SetScript([this](int begin, int end) { return Script(begin, end); });
    upstream_ = Listen(&upstream_port_);
    int32_t words[kRecordWords] = {int32_t(Command::kListen), listener, 0, kListener, -1};
    Run(words);
  }

  ~Worker() {
    close(upstream_);
    reactor_.Close();
  }

  void Step() {
    switch (Below(16)) {
    case 0:
      if (peers_.size() < kMaxPeers) Dial();
      break;
    case 1:
      ConnectOut();
      break;
    case 2:
    case 3:
      Disturb();
      break;
    case 4:
    case 5:
      if (Peer *peer = AnyPeer(); peer != nullptr && Below(8) == 0) Finish(*peer);
      break;
    case 6:
    case 7:
    case 8:
      Turn(0);
      break;
    case 9:
    case 10:
    case 11:
      if (Peer *peer = AnyPeer()) Send(*peer);
      break;
    default:
      if (Peer *peer = AnyPeer()) Receive(*peer, 1 + Below(100'000));
    }
    AcceptUpstream();
  }

  // Lets every stream come to its end, and checks that everything is given back.
  bool Settle() {
    is_settling_ = true;
    for (auto &[index, known] : known_)
      if (!known.closing) Resume(index, known);
    for (size_t i = 0; i < peers_.size();) {
      Peer &peer = peers_[i];
      if (!peer.fin_sent) {
        shutdown(peer.fd, SHUT_WR);
        peer.fin_sent = true;
      }
      if (Receive(peer, 1 << 20)) i++;
    }
    Turn(1);
    AcceptUpstream();
    return peers_.empty() && known_.empty() && stats_[kStatOpenConnections] == 0;
  }

  void CheckGivenBack() {
    CHECK(reactor_.Blocks().InUse() == 0, "%d blocks are missing", reactor_.Blocks().InUse());
    CHECK(connects_ == closed_connects_, "%ld connects, %ld closed", connects_, closed_connects_);
  }

  void Report(int index) const {
    printf("worker %d: %.0f accepted, %.0f handed over, %ld connects, %.0f events, %.0f commands, %.0f stale, %.0f "
           "starved, %.1f MB, %ld complete streams\n",
           index, stats_[kStatAccepted], stats_[kStatHandedOver], connects_, stats_[kStatEvents], stats_[kStatCommands],
           stats_[kStatStaleHandles], stats_[kStatStarvedReads], stats_[kStatBytesRead] / 1e6, complete_);
  }

  static int Listen(uint16_t *port) {
    int fd = CreateTcpListener("127.0.0.1", 0, 512);
    CHECK(fd >= 0, "listen: %d", fd);
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length);
    *port = ntohs(address.sin_port);
    return fd;
  }

private:
  uint32_t Below(uint32_t n) { return uint32_t(random_() % n); }

  // --- peers

  Peer *AnyPeer() { return peers_.empty() ? nullptr : &peers_[Below(uint32_t(peers_.size()))]; }

  void Dial() {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0, "socket: %d", errno);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(listener_port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0) {
      close(fd); // source ports ran out for a moment
      return;
    }
    AddPeer(fd);
  }

  void AddPeer(int fd) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    int small = 4096;
    if (Below(4) == 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    Peer peer{fd, next_id++};
    CHECK(peer.id < kMaxIds, "too many streams");
    peers_.push_back(peer);
  }

  void AcceptUpstream() {
    for (int fd; (fd = accept4(upstream_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;)
      AddPeer(fd);
  }

  void Send(Peer &peer) {
    if (peer.fin_sent) return;
    static thread_local uint8_t bytes[65536];
    size_t length = 1 + Below(Below(4) == 0 ? sizeof(bytes) : 300);
    for (size_t i = 0; i < length; i++)
      bytes[i] = ByteOf(peer.id, peer.sent + i);
    ssize_t sent = send(peer.fd, bytes, length, MSG_NOSIGNAL);
    if (sent > 0) peer.sent += uint64_t(sent);
  }

  // False when the peer is gone.
  bool Receive(Peer &peer, size_t most) {
    static thread_local uint8_t bytes[65536];
    while (most > 0) {
      ssize_t got = recv(peer.fd, bytes, std::min(most, sizeof(bytes)), 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (got <= 0) {
        bool is_complete = got == 0 && peer.fin_sent && broken[peer.id] == 0;
        if (is_complete) {
          CHECK(peer.received == peer.sent, "stream %lu: %lu of %lu bytes came back", peer.id, peer.received,
                peer.sent);
          complete_++;
        }
        Drop(peer, false);
        return false;
      }
      for (ssize_t i = 0; i < got; i++)
        CHECK(bytes[i] == ByteOf(peer.id, peer.received + uint64_t(i)), "stream %lu got a foreign byte at %lu", peer.id,
              peer.received + uint64_t(i));
      peer.received += uint64_t(got);
      CHECK(peer.received <= peer.sent, "stream %lu got more than it sent", peer.id);
      most -= size_t(got);
    }
    return true;
  }

  void Finish(Peer &peer) {
    if (Below(2) == 0) {
      shutdown(peer.fd, SHUT_WR);
      peer.fin_sent = true;
    } else {
      Drop(peer, Below(2) == 0);
    }
  }

  void Drop(Peer &peer, bool with_reset) {
    linger reset{1, 0};
    if (with_reset) setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(peer.fd);
    peer = peers_.back();
    peers_.pop_back();
  }

  // --- commands outside a turn

  void Run(const int32_t *words, int records = 1) {
    memcpy(reactor_.Commands().data(), words, size_t(records) * kRecordWords * sizeof(int32_t));
    reactor_.Submit(records * kRecordWords);
  }

  void ConnectOut() {
    if (peers_.size() >= kMaxPeers || is_settling_) return;
    int32_t index = reactor_.Reserve();
    CHECK(index >= 0, "no handle");
    connects_++;
    Known known{};
    known.generation = reactor_.Generations()[index];
    known_[index] = known;
    own_connects_[index] = known.generation;
    uint16_t port = Below(8) == 0 ? 1 : upstream_port_; // 1: refused
    int32_t words[kConnectRecords * kRecordWords] = {int32_t(Command::kConnect),
                                                     index,
                                                     int32_t(known.generation),
                                                     -1,
                                                     0,
                                                     int32_t(1 + Below(1000)),
                                                     0,
                                                     0,
                                                     0,
                                                     0,
                                                     0xffff,
                                                     INADDR_LOOPBACK};
    words[16] = port;
    words[18] = -1;
    Run(words, kConnectRecords);
  }

  // A random command to a random handle, alive or dead.
  void Disturb() {
    int32_t words[kRecordWords] = {};
    if (Below(4) == 0 || known_.empty()) { // dead or invented handles and blocks
      constexpr Command kinds[] = {Command::kWrite, Command::kRelease, Command::kShutdown, Command::kClose,
                                   Command::kReset, Command::kPause,   Command::kResume};
      words[0] = int32_t(kinds[Below(7)]);
      words[1] = int32_t(Below(200)) - 2;
      words[2] = int32_t(0x40000000 + Below(1000));
      words[3] = int32_t(Below(200)) - 2;
      words[4] = int32_t(0x40000000 + Below(1000));
      words[5] = words[3] * kBlockBytes;
      words[6] = 100;
      words[7] = 1;
      Run(words);
      return;
    }
    auto it = known_.begin();
    std::advance(it, Below(uint32_t(std::min<size_t>(known_.size(), 64))));
    auto &[index, known] = *it;
    if (known.closing) return;
    words[1] = index;
    words[2] = int32_t(known.generation);
    // Whose stream it is must be known before it is broken off, or its peer would miss bytes for no reason it could
    // check.
    switch (known.received < 8 ? 2 + Below(8) : Below(10)) {
    case 0:
      BreakOff(known);
      words[0] = int32_t(Command::kReset);
      Run(words);
      break;
    case 1:
      BreakOff(known);
      words[0] = int32_t(Command::kClose);
      words[3] = int32_t(Below(20));
      words[4] = int32_t(Below(2));
      Run(words);
      break;
    case 2:
    case 3:
      known.paused = true;
      words[0] = int32_t(Command::kPause);
      Run(words);
      break;
    default:
      Resume(index, known);
    }
  }

  void Resume(int32_t index, Known &known) {
    known.paused = false;
    int32_t words[kRecordWords] = {int32_t(Command::kResume), index, int32_t(known.generation)};
    Run(words);
    FlushHeld(index, known);
    Apply();
  }

  void BreakOff(Known &known) {
    known.closing = true;
    broken[known.id] = 1;
    for (const Known::Held &held : known.held)
      Add({int32_t(Command::kRelease), 0, 0, held.block, held.generation, 0, 0, 0});
    known.held.clear();
    Apply();
  }

  // --- the script

  void Add(std::array<int32_t, kRecordWords> words) {
    if (filled_ + kRecordWords > int(reactor_.Commands().size())) Apply();
    memcpy(reactor_.Commands().data() + filled_, words.data(), sizeof(words));
    filled_ += kRecordWords;
  }

  void Apply() {
    int words = filled_;
    filled_ = 0;
    if (words > 0) reactor_.Submit(words);
  }

  int Script(int begin, int end) {
    const int32_t *words = reactor_.Events().Words();
    for (int at = begin; at < end; at += kRecordWords) {
      const int32_t *event = words + at;
      if (Event(event[0]) == Event::kAccepted) {
        CHECK(known_.count(event[1]) == 0, "handle %d was accepted twice", event[1]);
        Known known{};
        known.generation = uint32_t(event[2]);
        known_[event[1]] = known;
        at += (kAcceptedRecords - 1) * kRecordWords;
        continue;
      }
      auto found = known_.find(event[1]);
      CHECK(found != known_.end() && found->second.generation == uint32_t(event[2]), "event %d of a dead handle %d",
            event[0], event[1]);
      Handle(found->first, found->second, event);
    }
    int filled = filled_;
    filled_ = 0;
    return filled;
  }

  void Handle(int32_t index, Known &known, const int32_t *event) {
    switch (Event(event[0])) {
    case Event::kData:
      OnData(index, known, event);
      break;
    case Event::kEnd:
      CHECK(!known.ended, "two ends");
      known.ended = true;
      FlushHeld(index, known);
      break;
    case Event::kClosed:
      // A stream that an error ended may be short: its peer did it, or will be told by RST.
      if (known.received >= 8 && event[3] != 0) broken[known.id] = 1;
      for (const Known::Held &held : known.held)
        Add({int32_t(Command::kRelease), 0, 0, held.block, held.generation, 0, 0, 0});
      if (auto own = own_connects_.find(index); own != own_connects_.end()) {
        own_connects_.erase(own);
        closed_connects_++;
      }
      known_.erase(index);
      break;
    default:
      break;
    }
  }

  void OnData(int32_t index, Known &known, const int32_t *event) {
    Known::Held held{event[3], event[4], event[5], event[6]};
    if (known.closing) {
      Add({int32_t(Command::kRelease), 0, 0, held.block, held.generation, 0, 0, 0});
      return;
    }
    const uint8_t *bytes = reactor_.Blocks().Memory() + held.offset;
    for (int32_t i = 0; i < held.length; i++, known.received++) {
      if (known.received < 8) {
        known.id |= uint64_t{bytes[i]} << (known.received * 8);
        continue;
      }
      CHECK(bytes[i] == ByteOf(known.id, known.received), "stream %lu: a foreign byte at %lu", known.id,
            known.received);
    }
    known.held.push_back(held);
    if (is_settling_ || known.held.size() > 2 || Below(3) != 0) FlushHeld(index, known);
  }

  void FlushHeld(int32_t index, Known &known) {
    if (known.closing) return;
    auto generation = int32_t(known.generation);
    while (!known.held.empty()) {
      Known::Held held = known.held.front();
      known.held.pop_front();
      if (held.length > 1 && Below(3) == 0) { // in two pieces: the block is counted twice
        int32_t first = 1 + int32_t(Below(uint32_t(held.length - 1)));
        Add({int32_t(Command::kWrite), index, generation, held.block, held.generation, held.offset, first, 0});
        held.offset += first;
        held.length -= first;
      }
      Add({int32_t(Command::kWrite), index, generation, held.block, held.generation, held.offset, held.length, 1});
    }
    if (!known.ended) return;
    known.closing = true;
    if (Below(2) == 0) Add({int32_t(Command::kShutdown), index, generation, 0, 0, 0, 0, 0});
    Add({int32_t(Command::kClose), index, generation, 0, 0, 0, 0, 0});
  }

  void Turn(int timeout_ms) {
    pollfd ready{reactor_.EpollFd(), POLLIN, 0};
    if (poll(&ready, 1, timeout_ms) > 0) reactor_.Turn();
  }

  std::mt19937_64 random_;
  uint16_t listener_port_;
  uint16_t upstream_port_ = 0;
  int upstream_;
  std::vector<double> stats_;
  Reactor reactor_;
  std::vector<Peer> peers_;
  std::unordered_map<int32_t, Known> known_;
  std::unordered_map<int32_t, uint32_t> own_connects_;
  int filled_ = 0;
  bool is_settling_ = false;
  long connects_ = 0;
  long closed_connects_ = 0;
  long complete_ = 0;
};

int OpenDescriptors() {
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr)
    count++;
  closedir(directory);
  return count;
}

} // namespace

int main(int argc, char **argv) {
  int workers = argc > 1 ? atoi(argv[1]) : 3;
  long steps = argc > 2 ? atol(argv[2]) : 200'000;
  uint64_t seed = argc > 3 ? strtoull(argv[3], nullptr, 10) : 1;
  int before = OpenDescriptors();
  uint16_t port = 0;
  int listener = Worker::Listen(&port);
  {
    std::vector<std::unique_ptr<Worker>> all;
    for (int i = 0; i < workers; i++)
      all.push_back(std::make_unique<Worker>(i, listener, port, seed));
    std::atomic<int> unsettled{workers};
    std::vector<std::thread> threads;
    for (int i = 0; i < workers; i++)
      threads.emplace_back([&, i] {
        for (long step = 0; step < steps; step++)
          all[size_t(i)]->Step();
        // A worker's peers may be served by another: all go on until all have come to rest.
        int64_t deadline = Timers::NowNs() + 120'000'000'000;
        bool is_settled = false;
        while (unsettled > 0) {
          bool now = all[size_t(i)]->Settle();
          if (now != is_settled) unsettled += now ? -1 : 1;
          is_settled = now;
          CHECK(Timers::NowNs() < deadline, "worker %d does not come to rest", i);
        }
      });
    for (std::thread &thread : threads)
      thread.join();
    for (int i = 0; i < workers; i++) {
      all[size_t(i)]->CheckGivenBack();
      all[size_t(i)]->Report(i);
    }
  }
  close(listener);
  int after = OpenDescriptors();
  CHECK(before == after, "%d descriptors before, %d after", before, after);
  printf("%d workers, %ld steps each, seed %lu: ok\n", workers, steps, seed);
}
