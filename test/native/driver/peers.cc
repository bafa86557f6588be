#include "peers.h"

#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert::driver {
namespace {

constexpr size_t kMostOwed = 1 << 18;
constexpr size_t kChunk = 1 << 16;

bool IsTransient(int error) {
  return error == EAGAIN || error == EINTR;
}

} // namespace

Peers::~Peers() {
  for (Peer &peer : all_)
    close(peer.fd);
}

void Peers::Dial(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0, "socket: %d", errno);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + random_.Below(1 << 20));
  uint64_t exits_before = exits;
  if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) == 0) {
    Add(fd, false, exits_before);
  } else {
    close(fd); // no port was free for a moment
  }
}

void Peers::Add(int fd, bool is_mirror, uint64_t exits_before) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  int small = 4096;
  if (random_.OneIn(4)) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  Peer peer{};
  peer.fd = fd;
  peer.is_mirror = is_mirror;
  peer.exits_before = exits_before;
  if (!is_mirror) peer.id = NewId();
  all_.push_back(std::move(peer));
}

void Peers::Act() {
  if (all_.empty()) return;
  Peer &peer = all_[random_.Below(uint32_t(all_.size()))];
  switch (random_.Below(16)) {
  case 0:
    if (random_.OneIn(4)) Finish(peer);
    break;
  case 1:
  case 2:
  case 3:
  case 4:
  case 5:
  case 6:
    Send(peer);
    break;
  default:
    Receive(peer, 1 + random_.Below(random_.OneIn(4) ? 100'000 : 2'000));
  }
}

void Peers::Settle() {
  for (size_t i = 0; i < all_.size();) {
    Peer &peer = all_[i];
    if (!peer.is_mirror && !peer.fin_sent) {
      shutdown(peer.fd, SHUT_WR);
      peer.fin_sent = true;
    }
    if (Receive(peer, 1 << 20)) i++; // else another stands in its place
  }
}

void Peers::Send(Peer &peer) {
  if (peer.is_mirror) {
    PayBack(peer);
    return;
  }
  if (peer.fin_sent) return;
  static thread_local uint8_t bytes[kChunk];
  size_t length = kIdBytes + random_.Below(random_.OneIn(8) ? kChunk - kIdBytes : 300);
  FillCanary(bytes, length, peer.id, peer.sent);
  ssize_t sent = send(peer.fd, bytes, length, MSG_NOSIGNAL);
  if (sent > 0) peer.sent += uint64_t(sent);
  // The error is told once: after it, the end of a stream that was reset looks like a FIN.
  if (sent < 0 && !IsTransient(errno)) Drop(peer, false);
}

bool Peers::PayBack(Peer &peer) {
  if (peer.owed.empty()) return true;
  size_t offered = 1 + random_.Below(uint32_t(peer.owed.size()));
  ssize_t sent = send(peer.fd, peer.owed.data(), offered, MSG_NOSIGNAL);
  if (sent < 0 && IsTransient(errno)) return true;
  if (sent < 0) {
    Drop(peer, false);
    return false;
  }
  peer.owed.erase(peer.owed.begin(), peer.owed.begin() + sent);
  return true;
}

bool Peers::Receive(Peer &peer, size_t most) {
  static thread_local uint8_t bytes[kChunk];
  while (most > 0 && !peer.fin_got) {
    if (peer.owed.size() >= kMostOwed) break;
    ssize_t got = recv(peer.fd, bytes, std::min(most, sizeof(bytes)), 0);
    if (got < 0 && IsTransient(errno)) break;
    if (got < 0) {
      Drop(peer, false);
      return false;
    }
    if (got == 0) {
      if (peer.is_mirror) {
        peer.fin_got = true;
        break;
      }
      // The reactor ends a stream by itself only when it was told to, and the script says so in `broken` before.
      bool may_be_unknown = peer.got.position == 0 && (leaving > 0 || peer.exits_before != exits);
      if (broken[peer.id] == 0 && !may_be_unknown) {
        CHECK(peer.fin_sent, "stream %lu ended before its source did, after %lu of %lu bytes", peer.id,
              peer.got.position, peer.sent);
        CHECK(peer.got.position == peer.sent, "stream %lu: %lu of %lu bytes came back", peer.id, peer.got.position,
              peer.sent);
        complete_++;
      }
      Drop(peer, false);
      return false;
    }
    peer.got.Follow(bytes, size_t(got), peer.is_mirror ? "mirror" : "source");
    most -= size_t(got);
    if (peer.is_mirror) {
      peer.owed.insert(peer.owed.end(), bytes, bytes + got);
      continue;
    }
    CHECK(!peer.got.IsKnown() || peer.got.id == peer.id, "stream %lu got bytes of stream %lu", peer.id, peer.got.id);
    CHECK(peer.got.position <= peer.sent, "stream %lu got more than it sent", peer.id);
  }
  if (!peer.is_mirror) return true;
  if (!PayBack(peer)) return false;
  if (!peer.fin_got || !peer.owed.empty()) return true;
  // FIN for FIN; closing says it, as nothing is left to come.
  Drop(peer, false);
  return false;
}

void Peers::Finish(Peer &peer) {
  if (peer.is_mirror) {
    // Whose stream it is must be known, or its source would miss bytes for no reason that it could check.
    if (!peer.got.IsKnown()) return;
    broken[peer.got.id] = 1;
    Drop(peer, random_.OneIn(2));
  } else if (random_.OneIn(2)) {
    Drop(peer, random_.OneIn(2));
  } else {
    shutdown(peer.fd, SHUT_WR);
    peer.fin_sent = true;
  }
}

void Peers::Drop(Peer &peer, bool with_reset) {
  linger reset{1, 0};
  if (with_reset) setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  close(peer.fd);
  if (&peer != &all_.back()) peer = std::move(all_.back());
  all_.pop_back();
}

} // namespace culvert::driver
