// The turn, the commands, the timers. Sockets are in reactor_sockets.cc, TLS in reactor_tls.cc.
#include "reactor/reactor.h"

#include <algorithm>
#include <cerrno>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace culvert {

static_assert(kFilledWord == kCommandRecords * kRecordWords);

namespace {

// A turn without a wait is bounded, so that timers and messages of the same loop get their time.
constexpr int64_t kTurnNs = 5'000'000;
// How long a turn waits for the next event at most. Longer would not save anything, shorter makes the kernel program
// its timer for every wait (1 ms: +40 % CPU per message at one connection).
constexpr int kMaxWaitMs = 100;
constexpr int kEventsPerRound = 256;
// Unused sockets in pods are closed after one to two of these.
constexpr int64_t kPoolTrimMs = 10'000;
constexpr int64_t kListenerMuteMs = 100;
// A burst is shared: the other workers are woken for what is left in the queue.
constexpr int kAcceptsPerEvent = 16;

template <typename T> T *MapTable(size_t count) {
  void *memory =
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<T *>(memory);
}

} // namespace

Reactor::Reactor(const ReactorConfig &config)
    : config_(config), epoll_(epoll_create1(EPOLL_CLOEXEC)), slab_(config.blocks, config.poison),
      commands_(size_t{kFilledWord} + 1), connections_(MapTable<Connection>(kMaxConnections)),
      generations_(MapTable<uint32_t>(kMaxConnections)), inbox_(std::make_shared<Inbox>()), pools_(inbox_) {
  if (!slab_.IsMapped() || connections_ == nullptr || generations_ == nullptr) {
    error_ = ENOMEM;
    return;
  }
  if (epoll_ < 0 || inbox_->Fd() < 0 || timers_.Fd() < 0) {
    error_ = errno;
    return;
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = WatchTag(Watched::kInbox);
  epoll_ctl(epoll_, EPOLL_CTL_ADD, inbox_->Fd(), &event);
  event.data.u64 = WatchTag(Watched::kTimer);
  epoll_ctl(epoll_, EPOLL_CTL_ADD, timers_.Fd(), &event);
  WorkerTable::Instance().Join(config_.worker, inbox_);
  config_.stats[kStatBlocksLimit] = config_.blocks;
}

Reactor::~Reactor() {
  Close();
  if (connections_ != nullptr) munmap(connections_, kMaxConnections * sizeof(Connection));
  if (generations_ != nullptr) munmap(generations_, kMaxConnections * sizeof(uint32_t));
}

void Reactor::Close() {
  if (epoll_ < 0) return;
  is_stopped_ = true;
  WorkerTable::Instance().Leave(config_.worker);
  inbox_->Close();
  pools_.Close();
  tls_.clear();
  for (int32_t index = 0; connections_ != nullptr && index < connection_count_; index++)
    if (int fd = std::exchange(connections_[index].fd, -1); fd >= 0) {
      SetLingerZero(fd); // FIN would say that a stream is whole which is cut off here
      close(fd);
    }
  close(std::exchange(epoll_, -1));
}

void Reactor::Turn() {
  if (is_stopped_) return;
  in_turn_ = true;
  config_.stats[kStatTurns]++;
  int64_t began_ns = Timers::NowNs();
  epoll_event ready[kEventsPerRound];
  int timeout_ms = 0;
  host_is_due_ = false;
  handshakes_ns_ = 0;
  // What Submit accepted (`kUnlisten`) may be told to speak TLS: nothing of it is read before.
  if (!events_.IsEmpty()) RunScript();
  while (!is_stopped_ && !host_is_due_) {
    int count = epoll_wait(epoll_, ready, kEventsPerRound, timeout_ms);
    if (timeout_ms > 0) began_ns = Timers::NowNs(); // the host had nothing to do when the wait began
    if (count <= 0 && ready_.empty() && handshakes_.empty() && events_.IsEmpty()) break;
    config_.stats[kStatRounds]++;
    for (int i = 0; i < count; i++)
      HandleReady(ready[i]);
    ReadReady();
    RunScript();
    if (is_stopped_) break;
    RunHandshakes(); // last: they take longest
    if (Timers::NowNs() - began_ns > kTurnNs) break;
    timeout_ms = 0;
    if (events_.IsEmpty()) {
      // Reads may wait for a block or for room in the ring: whoever gives them back is another event.
      if (!HasInput() && !(ready_.empty() && handshakes_.empty())) break;
      if (!handshakes_.empty() && !MayHandshake()) break; // the rest waits its turn
      if (ready_.empty() && handshakes_.empty() && host_wait_ms_) {
        PrepareToWait();
        timeout_ms = std::min(kMaxWaitMs, host_wait_ms_());
      }
    }
  }
  if (!handshakes_.empty() && !MayHandshake()) config_.stats[kStatTlsPutOff]++;
  PrepareToWait();
  in_turn_ = false;
  // Edges already seen are not reported again: come back by ourselves.
  if (!is_stopped_ && (!events_.IsEmpty() || HasInput())) Wake();
}

void Reactor::WaitForHost(int wake_fd, std::function<int()> wait_ms) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = WatchTag(Watched::kHost);
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_fd, &event) == 0) host_wait_ms_ = std::move(wait_ms);
}

void Reactor::HandleReady(const epoll_event &event) {
  uint64_t tag = event.data.u64;
  auto index = int32_t(tag & 0xffffffff);
  switch (Watched(tag >> 56)) {
  case Watched::kConnection:
    if ((connections_[index].generation & 0xffffff) == (tag >> 32 & 0xffffff)) HandleReadiness(index, event.events);
    break;
  case Watched::kListener:
    Accept(index, kAcceptsPerEvent);
    break;
  case Watched::kInbox:
    HandleInbox();
    break;
  case Watched::kTimer:
    HandleTimers();
    break;
  case Watched::kHost:
    host_is_due_ = true;
    break;
  }
}

void Reactor::PrepareToWait() {
  TellBlocks();
  ArmTimers();
}

// Nearly all connections are made long before their time is up: nobody need wake for it.
void Reactor::ArmTimers() {
  while (timers_.First() != nullptr && !IsCurrent(*timers_.First()))
    timers_.DropFirst();
  timers_.Arm();
}

bool Reactor::IsCurrent(const Timers::Entry &entry) const {
  switch (entry.kind) {
  case Timers::Kind::kConnection:
    return connections_[entry.id].timer_stamp == entry.stamp;
  case Timers::Kind::kScript: {
    auto found = script_timers_.find(entry.id);
    return found != script_timers_.end() && found->second == entry.stamp;
  }
  case Timers::Kind::kListener: {
    auto found = listeners_.find(entry.id);
    return found != listeners_.end() && found->second.is_muted;
  }
  case Timers::Kind::kSocketPools:
    return true;
  }
  return false;
}

void Reactor::TellBlocks() {
  config_.stats[kStatBlocksInUse] = slab_.InUse();
  config_.stats[kStatBlocksPeak] = std::max(config_.stats[kStatBlocksPeak], double(slab_.InUse()));
}

void Reactor::RunScript() {
  do {
    tells_blocked_ = false;
    CallScript();
    if (is_stopped_) return;
    FlushDirty();
  } while (tells_blocked_); // or a writer would be read once more than its reader takes
}

void Reactor::CallScript() {
  while (!events_.IsEmpty() && !is_stopped_) {
    int end = events_.End();
    config_.stats[kStatEvents] += double(end - events_.Begin()) / kRecordWords;
    TellBlocks(); // what the script sees is true, and the peak is here
    int words = script_(events_.Begin(), end);
    events_.Handled(end);
    if (words < 0) is_stopped_ = true;
    if (is_stopped_) return; // by the script, perhaps: nothing is there any more that commands could mean
    Execute(words);
  }
  // Every `closed` has been heard: the script uses none of these handles any more.
  free_connections_.insert(free_connections_.end(), finished_.begin(), finished_.end());
  finished_.clear();
}

void Reactor::Submit(int words) {
  if (is_stopped_) return;
  Execute(words);
  if (in_turn_) return;
  FlushDirty();
  ArmTimers();
  if (!events_.IsEmpty() || !ready_.empty() || !handshakes_.empty()) Wake();
}

void Reactor::Execute(int words) {
  const int32_t *command = commands_.data();
  const int32_t *end = command + words;
  while (command < end) {
    config_.stats[kStatCommands]++;
    int records = 1;
    switch (Command(command[0])) {
    case Command::kWrite:
      ExecuteWrite(command);
      break;
    case Command::kRelease:
      if (slab_.IsCurrent(command[3], uint32_t(command[4]))) {
        slab_.GiveUp(command[3]);
        slab_.Release(command[3]);
      } else {
        config_.stats[kStatStaleHandles]++;
      }
      break;
    case Command::kShutdown:
      if (Connection *connection = Find(command)) {
        connection->Set(kFinRequested);
        AddDirty(command[1]);
      }
      break;
    case Command::kClose:
      if (Connection *connection = Find(command)) {
        connection->Set(kCloseRequested);
        if (command[4] != 0) {
          connection->Set(kResetRequested);
          SetLingerZero(connection->fd);
        }
        if (connection->Has(kReserved | kConnecting | kTlsPending) || connection->write_error != 0) {
          Finish(command[1], 0);
        } else {
          if ((connection->queue_head != Connection::kNone || connection->Has(kTls)) && command[3] > 0)
            connection->timer_stamp = timers_.Set(Timers::Kind::kConnection, command[1], command[3]);
          AddDirty(command[1]);
        }
      }
      break;
    case Command::kReset:
      // Also one that is closing: what its reader does not take may be waited for no longer.
      if (Connection *connection = Find(command, true)) {
        SetLingerZero(connection->fd);
        Finish(command[1], 0);
      }
      break;
    case Command::kPause:
      if (Connection *connection = Find(command)) connection->Set(kPaused);
      break;
    case Command::kResume:
      if (Connection *connection = Find(command)) {
        connection->Clear(kPaused);
        if (connection->Has(kReadable)) AddReady(command[1]);
      }
      break;
    case Command::kConnect:
      records = kConnectRecords;
      ExecuteConnect(command);
      break;
    case Command::kSetTimer:
      script_timers_[command[1]] = timers_.Set(Timers::Kind::kScript, command[1], command[3]);
      break;
    case Command::kClearTimer:
      script_timers_.erase(command[1]);
      break;
    case Command::kListen:
      ExecuteListen(command);
      break;
    case Command::kUnlisten:
      if (auto found = listeners_.find(command[1]); found != listeners_.end()) {
        epoll_ctl(epoll_, EPOLL_CTL_DEL, found->second.fd, nullptr);
        Accept(command[1], kMaxConnections);
        listeners_.erase(command[1]);
      }
      break;
    case Command::kForgetNetns:
      pools_.Forget(command[1]);
      ServeWaiters();
      break;
    case Command::kStartTls:
      ExecuteStartTls(command);
      break;
    case Command::kTlsAccept:
      ExecuteTlsAccept(command);
      break;
    case Command::kTlsRefuse:
      ExecuteTlsRefuse(command);
      break;
    }
    command += records * kRecordWords;
  }
}

void Reactor::ExecuteListen(const int32_t *words) {
  listeners_[words[3]] = {words[1], words[4], false};
  epoll_event event{};
  // Level-triggered and exclusive: one worker is woken per connection, and none is forgotten.
  event.events = EPOLLIN | EPOLLEXCLUSIVE;
  event.data.u64 = WatchTag(Watched::kListener, words[3]);
  epoll_ctl(epoll_, EPOLL_CTL_ADD, words[1], &event);
}

void Reactor::MuteListener(int32_t listener_id) {
  Listener &listener = listeners_[listener_id];
  listener.is_muted = true;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, listener.fd, nullptr);
  timers_.Set(Timers::Kind::kListener, listener_id, kListenerMuteMs);
}

void Reactor::HandleInbox() {
  for (Message &message : inbox_->Take()) {
    if (message.kind == Message::Kind::kAccepted) {
      Adopt(message.listener, message.original_map, message.fd, message.peer);
      WorkerTable::Instance().AddLoad(config_.worker, -1); // the giver's reservation: Adopt has counted it
    } else {
      pools_.Arrived(std::move(message));
      if (!pools_timer_set_) {
        timers_.Set(Timers::Kind::kSocketPools, 0, kPoolTrimMs);
        pools_timer_set_ = true;
      }
    }
  }
  ServeWaiters();
}

void Reactor::ServeWaiters() {
  SocketPools::Waiter waiter{};
  int fd;
  while (pools_.NextServed(&waiter, &fd)) {
    if (connections_[waiter.connection].generation != waiter.generation) {
      if (fd >= 0) close(fd); // given up meanwhile
    } else if (fd < 0) {
      Finish(waiter.connection, -fd);
    } else {
      StartConnect(waiter.connection, fd);
    }
  }
}

void Reactor::HandleTimers() {
  timers_.Acknowledge();
  int64_t now = Timers::NowNs();
  Timers::Entry entry{};
  while (timers_.PopDue(now, &entry)) {
    if (!IsCurrent(entry)) continue;
    switch (entry.kind) {
    case Timers::Kind::kConnection: {
      Connection &connection = connections_[entry.id];
      SetLingerZero(connection.fd);
      bool is_handshake = connection.Has(kTlsPending) && !connection.Has(kConnecting);
      Finish(entry.id, ETIMEDOUT, is_handshake ? TlsFailure::kTimeout : TlsFailure::kNone);
      break;
    }
    case Timers::Kind::kScript:
      script_timers_.erase(entry.id);
      events_.Add(Event::kTimer, entry.id, 0);
      break;
    case Timers::Kind::kListener: {
      const Listener &listener = listeners_[entry.id];
      int32_t words[kRecordWords] = {0, listener.fd, 0, entry.id, listener.original_map};
      ExecuteListen(words);
      break;
    }
    case Timers::Kind::kSocketPools:
      pools_timer_set_ = pools_.Trim();
      if (pools_timer_set_) timers_.Set(Timers::Kind::kSocketPools, 0, kPoolTrimMs);
      break;
    }
  }
}

} // namespace culvert
