#include "worker.h"

#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert::driver {
namespace {

constexpr int32_t kBlocks = 24; // few: starvation is part of the test

int Dial(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address));
  return fd;
}

void Accumulate(Totals *totals, const std::vector<double> &stats, const Script &script, const Model &model) {
  for (int i = 0; i < kStatCount; i++)
    totals->stats[i] += stats[size_t(i)];
  totals->connects += script.Connects();
  totals->relays += script.Relays();
  totals->timers_fired += script.TimersFired();
  totals->blocked += script.BlockedWrites();
  totals->refusals += script.Refusals();
  totals->refused += script.Refused();
  totals->accepted_late += script.AcceptedLate();
  for (int i = 0; i < Model::kFailures; i++)
    totals->failures[i] += model.Failures(TlsFailure(i));
}

} // namespace

int Worker::Listen(uint16_t *port, int backlog) {
  int fd = CreateTcpListener("0.0.0.0", 0, backlog);
  CHECK(fd >= 0, "listen: %d", fd);
  int small = 4096; // accepted sockets inherit it: writes are cut short
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length);
  *port = ntohs(address.sin_port);
  return fd;
}

Worker::Worker(int index, const Listeners &shared, uint64_t seed)
    : index_(index), shared_(shared), random_(seed * 1000 + uint64_t(index)),
      mirror_listeners_{Listen(&ports_.mirror[0], 512), Listen(&ports_.mirror[1], 512)},
      source_listeners_{Listen(&ports_.source[0], 512), Listen(&ports_.source[1], 512)},
      silent_listener_(Listen(&ports_.silent, 0)), peers_(random_) {
  ports_.reactor = shared_.ports[1];
  ports_.own_netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  CHECK(ports_.own_netns >= 0, "open the network namespace: %d", errno);
  for (int &filler : fillers_)
    filler = Dial(ports_.silent);
  Enter();
}

Worker::~Worker() {
  for (int i : {0, 1}) {
    close(mirror_listeners_[i]);
    close(source_listeners_[i]);
  }
  close(silent_listener_);
  close(ports_.own_netns);
  for (int filler : fillers_)
    close(filler);
}

void Worker::Enter() {
  stats_.assign(kStatCount, 0);
  reactor_ = std::make_unique<Reactor>(ReactorConfig{kBlocks, index_, true, stats_.data()});
  CHECK(reactor_->Error() == 0, "errno %d", reactor_->Error());
  model_ = std::make_unique<Model>(*reactor_, stats_.data());
  script_ = std::make_unique<Script>(*reactor_, *model_, random_, ports_);
  stops_ = false;
  reactor_->SetScript([this](int begin, int end) { return stops_ ? -1 : script_->Round(begin, end); });
  has_listener_ = false;
  Relisten();
}

void Worker::Exit() {
  // Either the script says so in the middle of a turn, or the worker's loop ends.
  stops_ = random_.OneIn(2);
  if (stops_) Turn(0);
  leaving++;
  script_->BreakAll();
  int others[2];
  PostLate(others);
  reactor_->Close();
  for (int other : others) {
    char byte;
    CHECK(recv(other, &byte, 1, 0) == 0, "a descriptor that came late is open: %d", errno);
    close(other);
  }
  exits++;
  leaving--;
  past_.exits++;
  Accumulate(&past_, stats_, *script_, *model_);
  Enter();
}

// As a fellow worker and the netns thread do, when there is no turn any more that could take it.
void Worker::PostLate(int *others) {
  std::shared_ptr<Inbox> inbox = WorkerTable::Instance().InboxOf(index_);
  for (int i : {0, 1}) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0, "socketpair: %d", errno);
    others[i] = ends[0];
    Message message{};
    message.kind = i == 0 ? Message::Kind::kAccepted : Message::Kind::kSockets;
    if (i == 0) {
      message.fd = ends[1];
    } else {
      message.sockets = {ends[1]};
    }
    CHECK(inbox->Post(std::move(message)), "the inbox is closed");
  }
}

void Worker::Relisten() {
  int32_t *words = reactor_->Commands().data();
  memset(words, 0, 4 * kRecordWords * sizeof(int32_t));
  int count = 0;
  for (int i : {0, 1}) {
    if (has_listener_) {
      words[count] = int32_t(Command::kUnlisten);
      words[count + 1] = next_listener_id_ - 2;
      count += kRecordWords;
    }
    words[count] = int32_t(Command::kListen);
    words[count + 1] = shared_.fds[i];
    words[count + 3] = next_listener_id_++;
    words[count + 4] = -1;
    count += kRecordWords;
    CHECK(Script::IsTlsListener(next_listener_id_ - 1) == (i == 1), "listener %d", next_listener_id_ - 1);
  }
  reactor_->Submit(count);
  has_listener_ = true;
}

void Worker::Step() {
  switch (random_.Below(32)) {
  case 0:
    if (peers_.HasRoom()) {
      bool is_tls = random_.OneIn(3);
      peers_.Dial(shared_.ports[is_tls], is_tls);
    }
    break;
  case 1:
    if (peers_.HasRoom()) script_->ConnectOut();
    break;
  case 2:
  case 3:
  case 4:
    script_->Disturb();
    break;
  case 5:
    script_->UseTheDead();
    break;
  case 6:
    script_->SetTimers();
    break;
  case 7:
    if (random_.OneIn(64)) script_->ForgetNetns();
    if (random_.OneIn(16)) {
      // What waits in the queue then has spoken already.
      if (peers_.HasRoom()) peers_.Dial(shared_.ports[1], true);
      Relisten();
    }
    if (random_.OneIn(512)) Exit();
    if (random_.OneIn(16)) Credentials::Instance().Renew(random_, 1 + int32_t(random_.Below(kContexts)));
    break;
  case 8:
  case 9:
    AcceptForPeers();
    break;
  case 10:
  case 11:
  case 12:
  case 13:
  case 14:
  case 15:
    Turn(0);
    break;
  default:
    peers_.Act();
  }
  model_->CheckStale();
}

bool Worker::Settle() {
  peers_.Settle();
  script_->Settle();
  Turn(1);
  AcceptForPeers();
  model_->CheckStale();
  return peers_.IsEmpty() && model_->IsAtRest() && stats_[kStatOpenConnections] == 0;
}

void Worker::CheckGivenBack() {
  CHECK(reactor_->Blocks().InUse() == 0, "%d blocks are missing", reactor_->Blocks().InUse());
  model_->CheckTls();
  reactor_->Close();
  CHECK(stats_[kStatOpenConnections] == 0, "%.0f connections are open", stats_[kStatOpenConnections]);
}

Totals Worker::Sum() const {
  Totals totals = past_;
  Accumulate(&totals, stats_, *script_, *model_);
  totals.complete = peers_.Complete();
  totals.complete_tls = peers_.CompleteTls();
  return totals;
}

void Worker::Turn(int timeout_ms) {
  pollfd ready{reactor_->EpollFd(), POLLIN, 0};
  if (poll(&ready, 1, timeout_ms) > 0) reactor_->Turn();
}

void Worker::AcceptForPeers() {
  for (bool is_mirror : {true, false})
    for (int is_tls : {0, 1}) {
      int listener = is_mirror ? mirror_listeners_[is_tls] : source_listeners_[is_tls];
      for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;)
        peers_.Accepted(fd, is_tls == 1, is_mirror);
    }
}

} // namespace culvert::driver
