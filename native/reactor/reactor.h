// One worker's reactor: an epoll set, a slab, an event ring (native → script) and a command ring (script → native).
//
// A turn: collect what is ready, read it into blocks, fill the event ring, call the script once, execute the commands
// it left, look again until the host loop has work or the turn's time is over. Edge-triggered: one epoll_ctl per
// connection; `kReadable` and `kBlockedWrite` remember the edges. It decides nothing: which bytes go where is the
// script's business.
//
// Builds without Node's headers. Used by one thread, except Inbox.
#pragma once

#include "netns/tcp_socket.h"
#include "reactor/connection.h"
#include "reactor/inbox.h"
#include "reactor/layout.h"
#include "reactor/ring.h"
#include "reactor/slab.h"
#include "reactor/socket_pools.h"
#include "reactor/timers.h"
#include "tls/tls_session.h"

#include <deque>
#include <functional>
#include <memory>
#include <sys/epoll.h>
#include <unordered_map>
#include <vector>

namespace culvert {

// What an epoll entry is about, and its tag: kind, generation (24 bits tell a slot's neighbours in time apart), index.
enum class Watched : uint64_t { kConnection = 1, kListener = 2, kInbox = 3, kTimer = 4, kHost = 5 };

inline uint64_t WatchTag(Watched kind, int32_t index = 0, uint32_t generation = 0) {
  return uint64_t(kind) << 56 | uint64_t{generation & 0xffffff} << 32 | uint32_t(index);
}

struct ReactorConfig {
  int32_t blocks;
  int worker;
  bool poison;
  double *stats; // kStatCount doubles, owned by the caller, alive as long as the reactor
};

class Reactor {
public:
  // Handles events [begin, end) of the event ring, leaves commands, returns how many words of them. Negative: stop.
  using Script = std::function<int(int begin, int end)>;

  explicit Reactor(const ReactorConfig &config);
  ~Reactor();
  Reactor(const Reactor &) = delete;
  Reactor &operator=(const Reactor &) = delete;

  // 0, or the errno with which the kernel refused what the reactor needs.
  int Error() const { return error_; }
  int EpollFd() const { return epoll_; }
  Slab &Blocks() { return slab_; }
  EventRing &Events() { return events_; }
  // kFilledWord included.
  std::vector<int32_t> &Commands() { return commands_; }
  uint32_t *Generations() { return generations_; }

  void SetScript(Script script) { script_ = std::move(script); }
  // The epoll descriptor is readable.
  void Turn();
  // Lets a turn wait for its next events itself: through the host's loop the way is three system calls longer.
  // `wake_fd` is readable when the host has work; `wait_ms` says how long it could sleep now.
  void WaitForHost(int wake_fd, std::function<int()> wait_ms);
  // Executes commands outside a turn; if that made events, a turn follows.
  void Submit(int words);
  void Wake() { inbox_->Wake(); }
  // Closes every descriptor; nothing happens any more. The shared memory stays until the reactor is destroyed.
  void Close();
  // A handle for a connect command, or -1 when the table is full.
  int32_t Reserve();

private:
  struct Listener {
    int fd;
    int original_map;
    bool is_muted;
  };

  void HandleReady(const epoll_event &event);
  void PrepareToWait();
  void ArmTimers();
  bool IsCurrent(const Timers::Entry &entry) const;
  void TellBlocks();
  void RunScript();
  void CallScript();
  void Execute(int words);
  void ExecuteWrite(const int32_t *words);
  void ExecuteConnect(const int32_t *words);
  void ExecuteListen(const int32_t *words);

  // Connections
  int32_t NewConnection();
  Connection *Find(const int32_t *words, bool finds_closing = false);
  void Finish(int32_t index, int error, TlsFailure failure = TlsFailure::kNone, int32_t alert = 0);
  void StartConnect(int32_t index, int fd);
  bool Watch(int32_t index);
  void HandleReadiness(int32_t index, uint32_t readiness);
  void FinishConnect(int32_t index, bool has_failed);
  void AddReady(int32_t index);
  void ReadReady();
  void Read(int32_t index);
  void AddDirty(int32_t index);
  void FlushDirty();
  void Flush(int32_t index);
  bool WriteQueued(Connection &connection);
  void ConsumeQueue(Connection &connection, size_t written);
  bool HasUnsent(int32_t index);
  void TellBlocked(int32_t index);
  int32_t BlocksToRead(const Connection &connection) const;
  void DropQueue(Connection &connection);
  static void SetLingerZero(int fd);
  static int SocketError(int fd);

  // TLS (reactor_tls.cc)
  void ExecuteStartTls(const int32_t *words);
  void ExecuteTlsAccept(const int32_t *words);
  void ExecuteTlsRefuse(const int32_t *words);
  void BeginHandshake(int32_t index);
  void AddHandshake(int32_t index);
  void RunHandshakes();
  bool MayHandshake() const;
  void Handshake(int32_t index);
  void TellEstablished(int32_t index);
  void FlushHandshake(int32_t index);
  void FailTls(int32_t index);
  void ReadTls(int32_t index);
  void ReadPastEnd(int32_t index);
  bool WriteTls(int32_t index);
  struct Record {
    const uint8_t *bytes;
    size_t length;
    bool more_follow;
  };
  Record NextRecord(const Connection &connection);

  // Accepting
  void Accept(int32_t listener_id, int most);
  void Adopt(int32_t listener_id, int original_map, int fd, const sockaddr_storage &peer);
  void MuteListener(int32_t listener_id);

  void HandleInbox();
  void HandleTimers();
  void ServeWaiters();
  bool HasRoom() const { return events_.RoomRecords() > kReservedRecords; }
  bool CanRead() const { return HasRoom() && slab_.Available() > 0; }
  // Its certificate needs a block that bytes cannot take: those may be waiting for the handshake.
  bool CanHandshake() const { return HasRoom() && !slab_.IsEmpty(); }
  // Something seen is left that can go on.
  bool HasInput() const { return (!ready_.empty() && CanRead()) || (!handshakes_.empty() && CanHandshake()); }

  // Records kept free for what commands and timers cause, so that no event is ever lost.
  static constexpr int kReservedRecords = 4 * kCommandRecords / 2;

  ReactorConfig config_;
  int error_ = 0;
  int epoll_;
  Slab slab_;
  EventRing events_;
  std::vector<int32_t> commands_;
  Script script_;
  bool in_turn_ = false;
  bool host_is_due_ = false;
  std::function<int()> host_wait_ms_;
  bool is_stopped_ = false;
  bool tells_blocked_ = false; // an event says so that the script has not heard

  Connection *connections_; // kMaxConnections, reserved, touched as needed
  uint32_t *generations_;   // the same, for the script to read
  int32_t connection_count_ = 0;
  std::vector<int32_t> free_connections_;
  std::vector<int32_t> finished_; // free as soon as the script has heard of their end
  struct PendingConnect {
    Endpoint destination;
    Endpoint source;
    int32_t mark;
    int32_t flags;
    int bypass_map;
  };
  std::unordered_map<int32_t, PendingConnect> connects_;

  std::vector<Slice> slices_;
  int32_t free_slice_ = Connection::kNone;
  std::vector<int32_t> ready_;
  std::vector<int32_t> dirty_;

  std::vector<std::unique_ptr<TlsSession>> tls_; // by connection, as far as there are any
  std::deque<int32_t> handshakes_;               // those that can go on, first come first served
  int64_t handshakes_ns_ = 0;                    // spent on them in this turn
  std::unique_ptr<uint8_t[]> record_;            // where small writes become one record

  std::unordered_map<int32_t, Listener> listeners_;
  std::shared_ptr<Inbox> inbox_;
  SocketPools pools_;
  bool pools_timer_set_ = false;
  Timers timers_;
  std::unordered_map<int32_t, uint64_t> script_timers_;
};

} // namespace culvert
