// The other ends of the TLS benchmark: the least a C program needs to echo over TLS with epoll, and the load that
// drives it, Culvert and HAProxy alike. Both run on Node's own OpenSSL, the one Culvert has: this is an addon whose
// only function does not return before the work is done, one to a process (peer.ts).
//
//   serve <dir>                         echoes over TLS, on a free port that it prints
//   plain                               echoes without TLS, on a free port that it prints
//   messages <dir> <port> <pid> <ms> <connections>   each sends its next 100 bytes when it has the answer
//   bulk <dir> <port> <pid> <ms>        one connection, as much as goes there and back
//   handshakes <dir> <port> <pid> <ms> <at once>     connect, handshake, one message there and back, close
//   neighbour <dir> <port> <pid> <ms>   one connection, a message every 500 µs
//   idle <dir> <port> <pid> <count> <count>   so many sessions, each with an answer behind it; prints what a session of
//   those between the two counts adds to the process's resident memory, in bytes
//   storm <dir> <port> <count>          so many handshakes without a certificate, 64 at a time; prints how many were
//   refused
//
// <dir> has chain.pem, key.pem, root.pem; <pid> is whose CPU time is taken. Reports are load.cc's (../meter.h).
#include "session.h"

#include <node_api.h>

namespace {

constexpr size_t kMessageBytes = 100;
constexpr int64_t kNeighbourIntervalNs = 500'000;

// False when the connection is over.
bool Echo(Peer &peer) {
  uint8_t bytes[4 * kRecordBytes];
  for (;;) {
    while (peer.at < peer.unsent.size()) {
      const ssize_t sent = WriteSome(peer, peer.unsent.data() + peer.at, peer.unsent.size() - peer.at);
      if (sent < 0) return false;
      if (sent == 0) return true;
      peer.at += size_t(sent);
    }
    const ssize_t got = ReadSome(peer, bytes, sizeof(bytes));
    if (got <= 0) return got == 0;
    ssize_t done = 0;
    while (done < got) {
      const ssize_t sent = WriteSome(peer, bytes + done, size_t(got - done));
      if (sent < 0) return false;
      if (sent == 0) break;
      done += sent;
    }
    peer.unsent.assign(bytes + done, bytes + got);
    peer.at = 0;
  }
}

void Serve(SSL_CTX *context) {
  const int listener = Listen();
  const int poll = epoll_create1(0);
  Watch(poll, listener, nullptr, EPOLLIN);
  epoll_event ready[256];
  for (;;) {
    const int count = epoll_wait(poll, ready, 256, -1);
    for (int i = 0; i < count; i++) {
      if (auto *peer = static_cast<Peer *>(ready[i].data.ptr)) {
        if (!Echo(*peer)) End(peer);
        continue;
      }
      for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
        Tune(fd);
        auto *peer = new Peer(fd);
        if (context != nullptr) {
          peer->ssl = SSL_new(context);
          SSL_set_fd(peer->ssl, fd);
          SSL_set_accept_state(peer->ssl);
        }
        Watch(poll, fd, peer, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
      }
    }
  }
}

void Ask(Peer &peer) {
  static const uint8_t message[kMessageBytes] = {};
  peer.asked_ns = NowNs();
  peer.received = 0;
  if (WriteSome(peer, message, kMessageBytes) != kMessageBytes) Die("write a message");
}

// True when its handshake is over; the first message is sent then.
bool HasAsked(Peer &peer) {
  if (peer.is_ready) return true;
  const int done = StepHandshake(peer);
  if (done < 0) Die("handshake");
  if (done > 0) Ask(peer);
  return done > 0;
}

// True when the answer is whole.
bool Answered(Peer &peer) {
  uint8_t bytes[kMessageBytes];
  while (peer.received < kMessageBytes) {
    const ssize_t got = ReadSome(peer, bytes, kMessageBytes - peer.received);
    if (got < 0) Die("read an answer");
    if (got == 0) return false;
    peer.received += size_t(got);
  }
  return true;
}

// For one connection at a time: events of others are spurious here.
void FinishHandshake(Peer &peer, int poll) {
  epoll_event event;
  while (StepHandshake(peer) == 0)
    epoll_wait(poll, &event, 1, 10);
  if (!peer.is_ready) Die("handshake");
}

void AskAndWait(Peer &peer, int poll) {
  epoll_event event;
  Ask(peer);
  while (!Answered(peer))
    epoll_wait(poll, &event, 1, 10);
}

// Runs `step(peer)` for each peer that is ready for so long, or until `stop`.
template <typename Step> void Loop(int poll, int64_t duration_ns, Step step, const bool &stop) {
  epoll_event ready[256];
  const int64_t until_ns = NowNs() + duration_ns;
  while (!stop && NowNs() < until_ns) {
    const int count = epoll_wait(poll, ready, 256, 10);
    for (int i = 0; i < count; i++)
      step(static_cast<Peer *>(ready[i].data.ptr));
  }
}

constexpr int64_t kWarmupNs = 200'000'000;
constexpr int64_t kPatienceNs = 60'000'000'000;

// Until `step` has seen enough answers (`is_warm`), a moment more, then what counts.
template <typename Step>
void Measure(int poll, pid_t pid, int64_t duration_ns, Report &report, bool &is_warm, bool &is_measured, Step step) {
  const std::vector<pid_t> watched{pid};
  Window window(watched);
  const bool never = false;
  Loop(poll, kPatienceNs, step, is_warm);
  if (!is_warm) Die("the first answers");
  Loop(poll, kWarmupNs, step, never);
  is_measured = true;
  window.Start();
  Loop(poll, duration_ns, step, never);
  window.End(report);
  report.Print();
}

void Messages(SSL_CTX *context, int port, pid_t pid, int64_t duration_ns, int connections) {
  const int poll = epoll_create1(0);
  for (int i = 0; i < connections; i++)
    Dial(context, port, poll);
  Report report;
  int answered = 0;
  bool is_warm = false, is_measured = false;
  auto step = [&](Peer *peer) {
    if (!HasAsked(*peer)) return;
    while (Answered(*peer)) {
      if (!is_warm) is_warm = ++answered >= connections * 2;
      if (is_measured) {
        report.count++;
        report.latencies_ns.push_back(NowNs() - peer->asked_ns);
      }
      Ask(*peer);
    }
  };
  Measure(poll, pid, duration_ns, report, is_warm, is_measured, step);
}

void Bulk(SSL_CTX *context, int port, pid_t pid, int64_t duration_ns) {
  const int poll = epoll_create1(0);
  Dial(context, port, poll);
  static uint8_t out[4 * kRecordBytes], in[4 * kRecordBytes];
  Report report;
  bool is_warm = false, is_measured = false;
  auto step = [&](Peer *peer) {
    const int done = StepHandshake(*peer);
    if (done < 0) Die("handshake");
    for (bool goes_on = done == 1; goes_on;) {
      const ssize_t sent = WriteSome(*peer, out, sizeof(out));
      const ssize_t got = ReadSome(*peer, in, sizeof(in));
      if (sent < 0 || got < 0) Die("bulk");
      if (is_measured) report.count += uint64_t(got);
      if (got > 0) is_warm = true;
      goes_on = sent > 0 || got > 0;
    }
  };
  Measure(poll, pid, duration_ns, report, is_warm, is_measured, step);
}

void Handshakes(SSL_CTX *context, int port, pid_t pid, int64_t duration_ns, int at_once) {
  const int poll = epoll_create1(0);
  for (int i = 0; i < at_once; i++)
    Dial(context, port, poll);
  Report report;
  int answered = 0;
  bool is_warm = false, is_measured = false;
  auto step = [&](Peer *peer) {
    if (!HasAsked(*peer) || !Answered(*peer)) return;
    if (is_measured) report.count++;
    is_warm = ++answered >= at_once;
    End(peer);
    Dial(context, port, poll);
  };
  Measure(poll, pid, duration_ns, report, is_warm, is_measured, step);
}

// A time counts from when the message was due, or a stall would hide the messages it held up.
void Neighbour(SSL_CTX *context, int port, pid_t pid, int64_t duration_ns) {
  const int poll = epoll_create1(0);
  Peer *peer = Dial(context, port, poll);
  FinishHandshake(*peer, poll);
  printf("ready\n"); // now others may come
  fflush(stdout);
  Report report;
  const std::vector<pid_t> watched{pid};
  Window window(watched);
  window.Start();
  const int64_t start_ns = NowNs();
  for (int64_t due_ns = start_ns; due_ns < start_ns + duration_ns; due_ns += kNeighbourIntervalNs) {
    if (const int64_t left_ns = due_ns - NowNs(); left_ns > 0) {
      const timespec pause{0, long(left_ns)};
      nanosleep(&pause, nullptr);
    }
    AskAndWait(*peer, poll);
    report.latencies_ns.push_back(NowNs() - due_ns);
    report.count++;
  }
  window.End(report);
  report.Print();
}

int64_t ResidentBytes(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/statm";
  FILE *file = fopen(path.c_str(), "r");
  long all = 0, resident = 0;
  if (file == nullptr || fscanf(file, "%ld %ld", &all, &resident) != 2) Die(path.c_str());
  fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

void Idle(SSL_CTX *context, int port, pid_t pid, int few, int many) {
  const int poll = epoll_create1(0);
  int64_t with_few = 0;
  for (int count = 1; count <= many; count++) {
    Peer *peer = Dial(context, port, poll);
    FinishHandshake(*peer, poll);
    AskAndWait(*peer, poll);
    if (count == few) with_few = ResidentBytes(pid);
  }
  printf("%ld\n", long((ResidentBytes(pid) - with_few) / (many - few)));
}

// The server does all its work (key exchange, signature) before it finds that there is no certificate.
void Storm(SSL_CTX *context, int port, int count) {
  const int poll = epoll_create1(0);
  int started = 0, refused = 0;
  for (; started < std::min(count, 64); started++)
    Dial(context, port, poll);
  epoll_event ready[256];
  while (refused < count) {
    const int events = epoll_wait(poll, ready, 256, 10'000);
    if (events == 0) Die("a handshake that should have been refused");
    for (int i = 0; i < events; i++) {
      auto *peer = static_cast<Peer *>(ready[i].data.ptr);
      uint8_t byte;
      const int done = StepHandshake(*peer);
      if (done == 0 || (done == 1 && ReadSome(*peer, &byte, 1) >= 0)) continue;
      End(peer);
      refused++;
      if (started < count) {
        Dial(context, port, poll);
        started++;
      }
    }
  }
  printf("%d\n", refused);
}

void Run(const std::vector<std::string> &words) {
  const std::string &mode = words.at(0);
  auto number = [&](size_t i) { return atoi(words.at(i).c_str()); };
  if (mode == "plain") return Serve(nullptr);
  SSL_CTX *context = MakeContext(words.at(1), mode != "storm");
  if (mode == "serve") return Serve(context);
  const int port = number(2);
  if (mode == "storm") return Storm(context, port, number(3));
  const pid_t pid = number(3);
  const int64_t duration_ns = int64_t{number(4)} * 1'000'000;
  if (mode == "messages") return Messages(context, port, pid, duration_ns, number(5));
  if (mode == "bulk") return Bulk(context, port, pid, duration_ns);
  if (mode == "handshakes") return Handshakes(context, port, pid, duration_ns, number(5));
  if (mode == "idle") return Idle(context, port, pid, number(4), number(5));
  if (mode == "neighbour") return Neighbour(context, port, pid, duration_ns);
  Usage("unknown mode", mode.c_str());
}

napi_value Call(napi_env env, napi_callback_info info) {
  size_t count = 16;
  napi_value arguments[16];
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  std::vector<std::string> words;
  for (size_t i = 0; i < count; i++) {
    char text[512];
    size_t length = 0;
    napi_get_value_string_utf8(env, arguments[i], text, sizeof(text), &length);
    words.emplace_back(text, length);
  }
  Run(words);
  fflush(stdout);
  return nullptr;
}

} // namespace

NAPI_MODULE_INIT() {
  napi_value function = nullptr;
  napi_create_function(env, "run", NAPI_AUTO_LENGTH, Call, nullptr, &function);
  napi_set_named_property(env, exports, "run", function);
  return exports;
}
