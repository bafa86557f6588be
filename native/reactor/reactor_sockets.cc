// Accepting, connecting, reading and writing. A connection that fails while writing is read to its end first: a server
// may have answered and closed before it read all of a request, and that answer must arrive.
#include "reactor/original_destination.h"
#include "reactor/passage.h"
#include "reactor/reactor.h"

#include <algorithm>
#include <cerrno>
#include <netinet/in.h>
#include <sys/uio.h>
#include <unistd.h>

namespace culvert {

namespace {

constexpr int kMaxReadBlocks = 8;
constexpr int kMaxWriteSlices = 64;

void WriteEndpoint(const Endpoint &endpoint, int32_t *address, int32_t *port) {
  for (int i = 0; i < 4; i++)
    address[i] = int32_t(endpoint.words[i]);
  *port = endpoint.port;
}

} // namespace

int32_t Reactor::NewConnection() {
  int32_t index;
  if (!free_connections_.empty()) {
    index = free_connections_.back();
    free_connections_.pop_back();
  } else if (connection_count_ < kMaxConnections) {
    index = connection_count_++;
    new (&connections_[index]) Connection();
    connections_[index].generation = generations_[index] = 1;
  } else {
    return -1;
  }
  Connection &connection = connections_[index];
  uint32_t generation = connection.generation;
  connection = Connection();
  connection.generation = generation;
  config_.stats[kStatOpenConnections]++;
  WorkerTable::Instance().AddLoad(config_.worker, 1);
  return index;
}

int32_t Reactor::Reserve() {
  int32_t index = NewConnection();
  if (index >= 0) connections_[index].Set(kReserved);
  return index;
}

Connection *Reactor::Find(const int32_t *words, bool finds_closing) {
  if (words[1] >= 0 && words[1] < connection_count_) {
    Connection &connection = connections_[words[1]];
    if (connection.generation == uint32_t(words[2]) && (finds_closing || !connection.Has(kCloseRequested)))
      return &connection;
  }
  config_.stats[kStatStaleHandles]++;
  return nullptr;
}

// Ends a handle: reports it closed and frees the slot. The descriptor is closed as it is (SetLingerZero: RST).
void Reactor::Finish(int32_t index, int error, TlsFailure failure, int32_t alert) {
  Connection &connection = connections_[index];
  DropQueue(connection);
  if (connection.Has(kTls)) {
    tls_[index].reset();
    config_.stats[kStatTlsSessions]--;
    if (failure != TlsFailure::kNone) config_.stats[kStatTlsFailures]++;
  }
  if (connection.fd >= 0) close(connection.fd);
  connects_.erase(index);
  int32_t *words = events_.Add(Event::kClosed, index, connection.generation);
  words[3] = error;
  words[4] = connection.Has(kConnectedOnce) ? 1 : 0;
  words[5] = int32_t(failure);
  words[6] = alert;
  connection.fd = -1;
  connection.flags = 0;
  connection.timer_stamp = 0;
  generations_[index] = ++connection.generation;
  finished_.push_back(index);
  config_.stats[kStatOpenConnections]--;
  WorkerTable::Instance().AddLoad(config_.worker, -1);
}

int Reactor::SocketError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

// The next close of the descriptor sends RST.
void Reactor::SetLingerZero(int fd) {
  if (fd < 0) return;
  linger reset{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

bool Reactor::Watch(int32_t index) {
  Connection &connection = connections_[index];
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = WatchTag(Watched::kConnection, index, connection.generation);
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event) == 0;
}

void Reactor::Accept(int32_t listener_id, int most) {
  auto found = listeners_.find(listener_id);
  if (found == listeners_.end()) return;
  Listener listener = found->second;
  int64_t now_ns = Timers::NowNs();
  for (int i = 0; i < most && HasRoom(); i++) {
    sockaddr_storage peer{};
    socklen_t length = sizeof(peer);
    int fd = accept4(listener.fd, reinterpret_cast<sockaddr *>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      // EMFILE, ENFILE, ENOMEM: what waits stays in the queue; without a pause this would spin.
      config_.stats[kStatAcceptErrors]++;
      MuteListener(listener_id);
      return;
    }
    WorkerTable &workers = WorkerTable::Instance();
    int target = workers.LeastLoaded(config_.worker, now_ns);
    if (target != config_.worker) {
      Message message{};
      message.kind = Message::Kind::kAccepted;
      message.fd = fd;
      message.listener = listener_id;
      message.original_map = listener.original_map;
      message.peer = peer;
      std::shared_ptr<Inbox> inbox = workers.InboxOf(target);
      workers.AddLoad(target, 1);
      if (inbox != nullptr && inbox->Post(std::move(message))) {
        config_.stats[kStatHandedOver]++;
        continue;
      }
      workers.AddLoad(target, -1);
    }
    Adopt(listener_id, listener.original_map, fd, peer);
  }
}

void Reactor::Adopt(int32_t listener_id, int original_map, int fd, const sockaddr_storage &peer) {
  sockaddr_storage local{};
  socklen_t length = sizeof(local);
  Endpoint peer_endpoint = EndpointOf(peer);
  OriginalDestination original{};
  bool is_known = getsockname(fd, reinterpret_cast<sockaddr *>(&local), &length) == 0;
  Endpoint local_endpoint = EndpointOf(local);
  if (is_known && original_map >= 0) {
    is_known = TakeOriginalDestination(original_map, peer_endpoint, local_endpoint, &original);
    // Whoever connects to the outbound port itself, or a record that was evicted: never guess.
    if (!is_known) config_.stats[kStatMissingOriginals]++;
  }
  int32_t index = is_known ? NewConnection() : -1;
  if (index < 0) {
    SetLingerZero(fd);
    close(fd);
    return;
  }
  Connection &connection = connections_[index];
  connection.fd = fd;
  connection.Set(kConnectedOnce);
  config_.stats[kStatAccepted]++;
  int32_t *words = events_.Add(Event::kAccepted, index, connection.generation, kAcceptedRecords);
  words[3] = listener_id;
  words[4] = original_map >= 0 ? kAcceptedHasOriginal : 0;
  WriteEndpoint(local_endpoint, words + 8, words + 20);
  WriteEndpoint(peer_endpoint, words + 12, words + 21);
  WriteEndpoint(original.endpoint, words + 16, words + 22);
  words[23] = int32_t(original.pod_id);
  if (!Watch(index)) Finish(index, errno);
}

void Reactor::ExecuteConnect(const int32_t *words) {
  Connection *connection = Find(words);
  if (connection == nullptr) return;
  if (!connection->Has(kReserved)) { // it has a socket already
    config_.stats[kStatStaleHandles]++;
    return;
  }
  PendingConnect pending{};
  pending.mark = words[6];
  pending.flags = words[7];
  for (int i = 0; i < 4; i++) {
    pending.destination.words[i] = uint32_t(words[8 + i]);
    pending.source.words[i] = uint32_t(words[12 + i]);
  }
  pending.destination.port = uint16_t(words[16]);
  pending.source.port = uint16_t(words[17]);
  pending.bypass_map = words[18];
  int32_t index = words[1];
  connects_[index] = pending;
  connection->Clear(kReserved);
  connection->Set(kConnecting);
  connection->timer_stamp = timers_.Set(Timers::Kind::kConnection, index, words[5]);
  int family = pending.destination.IsIpv4() ? AF_INET : AF_INET6;
  int fd = words[3] < 0 ? CreateTcpSocket(family) : pools_.Take(words[3], family, {index, connection->generation});
  if (words[3] < 0 && fd < 0) {
    Finish(index, -fd);
  } else if (fd >= 0) {
    StartConnect(index, fd);
  }
}

void Reactor::StartConnect(int32_t index, int fd) {
  Connection &connection = connections_[index];
  connection.fd = fd;
  const PendingConnect &pending = connects_[index];
  int family = pending.destination.IsIpv4() ? AF_INET : AF_INET6;
  sockaddr_storage address;
  bool is_ok = true;
  if (pending.mark != 0) is_ok = setsockopt(fd, SOL_SOCKET, SO_MARK, &pending.mark, sizeof(pending.mark)) == 0;
  if (is_ok && (pending.flags & kConnectTransparent) != 0) {
    int one = 1;
    is_ok = family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)) == 0
                              : setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &one, sizeof(one)) == 0;
    // One address and port may be bound towards several destinations, and again while it is in TIME_WAIT towards this
    // one. Nor does it keep an application from listening on that port.
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  }
  bool has_source = pending.source.port != 0 || pending.source.words[3] != 0 || pending.source.words[0] != 0;
  if (is_ok && has_source) {
    int one = 1;
    // Port 0 here means: chosen at connect, by the whole tuple.
    if (pending.source.port == 0) setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    socklen_t length = SocketAddressOf(pending.source, family, &address);
    is_ok = bind(fd, reinterpret_cast<sockaddr *>(&address), length) == 0;
  }
  if (is_ok) {
    socklen_t length = SocketAddressOf(pending.destination, family, &address);
    is_ok = connect(fd, reinterpret_cast<sockaddr *>(&address), length) == 0 || errno == EINPROGRESS;
  }
  if (!is_ok || !Watch(index)) Finish(index, errno);
}

void Reactor::FinishConnect(int32_t index, bool has_failed) {
  Connection &connection = connections_[index];
  if (int error = has_failed ? SocketError(connection.fd) : 0; error != 0) {
    Finish(index, error);
    return;
  }
  connection.Clear(kConnecting);
  connection.Set(kConnectedOnce);
  connection.timer_stamp = 0;
  int bypass_map = connects_[index].bypass_map;
  connects_.erase(index);
  int32_t *words = events_.Add(Event::kConnected, index, connection.generation);
  words[3] = int32_t(bypass_map < 0 ? Passage::kNotAsked : PassageOf(bypass_map, connection.fd));
  if (connection.Has(kTls)) BeginHandshake(index);
  AddDirty(index); // what was written meanwhile
}

void Reactor::HandleReadiness(int32_t index, uint32_t readiness) {
  Connection &connection = connections_[index];
  if (connection.Has(kConnecting)) {
    if ((readiness & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    FinishConnect(index, (readiness & (EPOLLERR | EPOLLHUP)) != 0);
    if (connection.fd < 0) return;
  }
  if ((readiness & EPOLLOUT) != 0 && connection.Has(kBlockedWrite)) {
    connection.Clear(kBlockedWrite);
    AddDirty(index);
  }
  if ((readiness & EPOLLERR) != 0) connection.Set(kFailed);
  // Nobody would read the error of a connection that is not read: RST must not wait for a slow receiver.
  if ((readiness & EPOLLERR) != 0 && connection.Has(kPaused | kCloseRequested | kEndSeen)) {
    int error = SocketError(connection.fd); // 0 if a write has taken it
    Finish(index, error != 0 ? error : connection.write_error);
    return;
  }
  if ((readiness & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) connection.Set(kHungUp);
  if ((readiness & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    connection.Set(kReadable);
    AddReady(index);
  }
}

void Reactor::AddReady(int32_t index) {
  Connection &connection = connections_[index];
  if (connection.Has(kInReady) || connection.fd < 0) return;
  if (connection.Has(kTlsPending)) {
    AddHandshake(index);
    return;
  }
  connection.Set(kInReady);
  ready_.push_back(index);
}

// Reads each ready connection once. Those that have more, or found no room, stay in the list.
void Reactor::ReadReady() {
  size_t count = ready_.size();
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    int32_t index = ready_[i];
    Connection &connection = connections_[index];
    if (!connection.Has(kInReady)) continue; // the slot was freed
    if (!CanRead()) {
      if (slab_.Available() == 0) config_.stats[kStatStarvedReads]++;
      ready_[kept++] = index;
      continue;
    }
    connection.Clear(kInReady);
    if (connection.Has(kPaused | kCloseRequested | kTlsPending) || !connection.Has(kReadable)) continue;
    if (connection.Has(kTls)) {
      ReadTls(index);
    } else {
      Read(index);
    }
    if (connection.fd >= 0 && connection.Has(kReadable) && !connection.Has(kPaused)) {
      connection.Set(kInReady);
      ready_[kept++] = index;
    }
  }
  ready_.resize(kept);
}

// The less of the slab is free, the less each takes: readers that have stopped keep what was read for them, and many of
// them must not leave nothing to the others.
int32_t Reactor::BlocksToRead(const Connection &connection) const {
  int32_t all = slab_.InUse() + slab_.Available();
  int32_t share = (connection.read_blocks * slab_.Available() + all - 1) / all;
  return std::min(share, slab_.Available());
}

void Reactor::Read(int32_t index) {
  Connection &connection = connections_[index];
  int32_t blocks[kMaxReadBlocks];
  iovec vectors[kMaxReadBlocks];
  int wanted = BlocksToRead(connection);
  for (int i = 0; i < wanted; i++) {
    blocks[i] = slab_.Take();
    vectors[i] = {slab_.At(blocks[i]), kBlockBytes};
  }
  ssize_t bytes;
  do {
    bytes =
        wanted == 1 ? recv(connection.fd, vectors[0].iov_base, kBlockBytes, 0) : readv(connection.fd, vectors, wanted);
  } while (bytes < 0 && errno == EINTR);
  int error = bytes < 0 ? errno : 0;
  int filled = bytes > 0 ? int((bytes + kBlockBytes - 1) / kBlockBytes) : 0;
  for (int i = wanted - 1; i >= filled; i--)
    slab_.Release(blocks[i]);
  if (bytes > 0) {
    config_.stats[kStatBytesRead] += double(bytes);
    for (int i = 0; i < filled; i++) {
      int32_t *words = events_.Add(Event::kData, index, connection.generation);
      words[3] = blocks[i];
      words[4] = int32_t(slab_.Generation(blocks[i]));
      words[5] = blocks[i] * kBlockBytes;
      words[6] = int32_t(std::min<ssize_t>(kBlockBytes, bytes - ssize_t{i} * kBlockBytes));
    }
    // A short read has found the end of what was there, and a new edge follows new bytes; but FIN or an error whose
    // edge has been seen already is told only by another read.
    if (bytes < ssize_t{wanted} * kBlockBytes) {
      connection.read_blocks = uint8_t(std::max(1, filled));
      if (!connection.Has(kHungUp)) connection.Clear(kReadable);
      return;
    }
    connection.read_blocks = uint8_t(std::min(kMaxReadBlocks, wanted * 2));
    return;
  }
  connection.read_blocks = 1;
  connection.Clear(kReadable);
  if (bytes < 0 && (error == EAGAIN || error == EWOULDBLOCK)) {
    if (connection.write_error != 0) Finish(index, connection.write_error);
    return;
  }
  if (bytes == 0 && connection.write_error == 0) {
    // After a FIN recv() says 0 for ever, also when RST has come since.
    if (int failure = connection.Has(kFailed) ? SocketError(connection.fd) : 0; failure != 0) {
      Finish(index, failure);
      return;
    }
    if (!connection.Has(kEndSeen)) events_.Add(Event::kEnd, index, connection.generation);
    connection.Set(kEndSeen);
    return;
  }
  Finish(index, connection.write_error != 0 ? connection.write_error : error);
}

void Reactor::ExecuteWrite(const int32_t *words) {
  int32_t block = words[3];
  if (!slab_.IsCurrent(block, uint32_t(words[4])) || !Slab::Contains(block, words[5], words[6])) {
    config_.stats[kStatStaleHandles]++;
    return;
  }
  bool gives_up = words[7] != 0;
  if (gives_up) slab_.GiveUp(block);
  Connection *connection = Find(words);
  if (connection == nullptr || connection->write_error != 0 || connection->Has(kFinRequested)) {
    if (gives_up) slab_.Release(block);
    return;
  }
  if (!gives_up) slab_.Retain(block);
  int32_t slice = free_slice_;
  if (slice != Connection::kNone) {
    free_slice_ = slices_[slice].next;
  } else {
    slice = int32_t(slices_.size());
    slices_.push_back({});
  }
  slices_[slice] = {block, words[5], words[6], Connection::kNone};
  if (connection->queue_head == Connection::kNone) {
    connection->queue_head = slice;
  } else {
    slices_[connection->queue_tail].next = slice;
  }
  connection->queue_tail = slice;
  AddDirty(words[1]);
}

void Reactor::AddDirty(int32_t index) {
  Connection &connection = connections_[index];
  if (connection.Has(kDirty)) return;
  connection.Set(kDirty);
  dirty_.push_back(index);
}

void Reactor::FlushDirty() {
  for (size_t i = 0; i < dirty_.size(); i++) {
    Connection &connection = connections_[dirty_[i]];
    if (!connection.Has(kDirty)) continue; // the slot was freed
    connection.Clear(kDirty);
    Flush(dirty_[i]);
  }
  dirty_.clear();
}

void Reactor::Flush(int32_t index) {
  Connection &connection = connections_[index];
  if (connection.Has(kTlsPending)) FlushHandshake(index);
  if (connection.fd < 0 || connection.Has(kConnecting | kBlockedWrite | kTlsPending)) {
    if (connection.queue_head != Connection::kNone) TellBlocked(index);
    return;
  }
  if (connection.Has(kTls) ? !WriteTls(index) : !WriteQueued(connection)) {
    if (connection.Has(kCloseRequested)) {
      Finish(index, connection.write_error);
      return;
    }
    // Read what is left before the failure is told.
    connection.Clear(kPaused);
    connection.Set(kReadable);
    AddReady(index);
    return;
  }
  if (HasUnsent(index)) {
    connection.Set(kBlockedWrite);
    TellBlocked(index);
    return;
  }
  if (connection.Has(kToldBlocked)) {
    connection.Clear(kToldBlocked);
    events_.Add(Event::kDrained, index, connection.generation);
  }
  if (connection.Has(kCloseRequested)) {
    Finish(index, 0);
  } else if (connection.Has(kFinRequested) && !connection.Has(kFinSent)) {
    connection.Set(kFinSent);
    shutdown(connection.fd, SHUT_WR);
  }
}

void Reactor::TellBlocked(int32_t index) {
  Connection &connection = connections_[index];
  if (connection.Has(kToldBlocked)) return;
  connection.Set(kToldBlocked);
  events_.Add(Event::kBlocked, index, connection.generation);
  tells_blocked_ = true;
}

// Writes as much as the kernel takes. False: writing failed, the queue is dropped, write_error says why.
bool Reactor::WriteQueued(Connection &connection) {
  while (connection.queue_head != Connection::kNone) {
    iovec vectors[kMaxWriteSlices];
    int count = 0;
    size_t offered = 0;
    for (int32_t slice = connection.queue_head; slice != Connection::kNone && count < kMaxWriteSlices;
         slice = slices_[slice].next) {
      vectors[count++] = {slab_.Memory() + slices_[slice].offset, size_t(slices_[slice].length)};
      offered += size_t(slices_[slice].length);
    }
    ssize_t written;
    if (count == 1) {
      written = send(connection.fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL);
    } else {
      msghdr message{};
      message.msg_iov = vectors;
      message.msg_iovlen = size_t(count);
      written = sendmsg(connection.fd, &message, MSG_NOSIGNAL);
    }
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      connection.write_error = errno;
      DropQueue(connection);
      return false;
    }
    config_.stats[kStatBytesWritten] += double(written);
    ConsumeQueue(connection, size_t(written));
    if (size_t(written) < offered) return true;
  }
  return true;
}

// The first `written` bytes of the queue are no longer needed.
void Reactor::ConsumeQueue(Connection &connection, size_t written) {
  while (written > 0) {
    int32_t head = connection.queue_head;
    Slice &slice = slices_[head];
    if (written < size_t(slice.length)) {
      slice.offset += int32_t(written);
      slice.length -= int32_t(written);
      return;
    }
    written -= size_t(slice.length);
    slab_.Release(slice.block);
    connection.queue_head = slice.next;
    slice.next = free_slice_;
    free_slice_ = head;
  }
}

bool Reactor::HasUnsent(int32_t index) {
  const Connection &connection = connections_[index];
  if (connection.queue_head != Connection::kNone) return true;
  if (!connection.Has(kTls)) return false;
  // Whoever closes does not wait for half a message of the peer.
  return tls_[index]->Unsent() > 0 || (tls_[index]->IsInMessage() && !connection.Has(kCloseRequested));
}

void Reactor::DropQueue(Connection &connection) {
  for (int32_t slice = connection.queue_head; slice != Connection::kNone;) {
    int32_t next = slices_[slice].next;
    slab_.Release(slices_[slice].block);
    slices_[slice].next = free_slice_;
    free_slice_ = slice;
    slice = next;
  }
  connection.queue_head = connection.queue_tail = Connection::kNone;
}

} // namespace culvert
