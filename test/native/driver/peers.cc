#include "peers.h"

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert::driver {
namespace {

constexpr size_t kMostOwed = 1 << 18;
constexpr size_t kChunk = 1 << 16;

} // namespace

void Peers::Dial(uint16_t port, bool is_tls) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0, "socket: %d", errno);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + random_.Below(1 << 20));
  uint64_t exits_before = exits;
  if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0) {
    close(fd); // no port was free for a moment
    return;
  }
  Add(fd, is_tls, false, false, exits_before);
  if (!is_tls) return;
  // A client speaks first.
  if (all_.back().manner == Manner::kGarbage) {
    Send(all_.back());
  } else {
    Receive(all_.back(), 1);
  }
}

void Peers::Add(int fd, bool is_tls, bool is_server, bool is_mirror, uint64_t exits_before) {
  int small = 4096;
  if (random_.OneIn(4)) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  Peer peer{};
  peer.is_mirror = is_mirror;
  peer.exits_before = exits_before;
  if (!is_mirror) peer.id = NewId();
  SSL *ssl = nullptr;
  if (is_tls) {
    if (random_.OneIn(3)) peer.manner = Manner(random_.Below(uint32_t(Manner::kCount)));
    misdeeds.by_manner[int(peer.manner)]++;
    Who who = random_.OneIn(3) ? Who::kCart : Who::kWeb;
    if (peer.manner == Manner::kStranger) who = Who::kStranger;
    if (peer.manner == Manner::kNobody && !is_server) who = Who::kNobody;
    const char *protocol = peer.manner != Manner::kOtherProtocol ? "a" : is_server ? nullptr : "c";
    if (peer.manner != Manner::kGarbage) ssl = Credentials::Instance().NewSession(who, is_server, protocol);
  }
  peer.wire = std::make_unique<Wire>(fd, ssl);
  peer.wire->Dribble(peer.manner == Manner::kDribbles);
  peer.wire->Stall(peer.manner == Manner::kStalls);
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
    Disturb(peer);
    break;
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
    peer.wire->Dribble(false);
    peer.wire->Stall(false);
    // Some wait for all that they have sent first: nothing but the reactor's own doing brings it.
    bool waits = peer.id % 2 == 1 && peer.got.position < peer.sent && broken[peer.id] == 0;
    if (!peer.is_mirror && !peer.fin_sent && !waits) {
      clean_ends[peer.id] = 1;
      peer.wire->End();
      peer.fin_sent = true;
    }
    if (peer.manner == Manner::kGarbage) peer.wire->End();
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
  if (peer.manner == Manner::kGarbage) {
    for (size_t i = 0; i < length; i++)
      bytes[i] = uint8_t(random_.Below(256));
    if (random_.OneIn(2)) memcpy(bytes, "\x16\x03\x01\x02", 4);
  } else {
    FillCanary(bytes, length, peer.id, peer.sent);
  }
  ssize_t sent = peer.wire->Send(bytes, length);
  if (sent > 0) peer.sent += uint64_t(sent);
  // The error is told once: after it, the end of a stream that was reset looks like a FIN.
  if (sent < 0) Drop(peer, false);
}

bool Peers::PayBack(Peer &peer) {
  if (peer.owed.empty()) return true;
  size_t offered = 1 + random_.Below(uint32_t(peer.owed.size()));
  ssize_t sent = peer.wire->Send(peer.owed.data(), std::min(offered, kChunk));
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
    size_t length = 0;
    Got got = peer.wire->Receive(bytes, std::min(most, sizeof(bytes)), &length);
    if (got == Got::kNothing) break;
    if (got == Got::kEnd && peer.manner != Manner::kGarbage) {
      if (!Ended(peer)) return false;
      break;
    }
    if (got != Got::kBytes) return BrokenOff(peer, got);
    most -= length;
    if (peer.manner == Manner::kGarbage) continue; // an alert
    peer.got.Follow(bytes, length, peer.is_mirror ? "mirror" : "source");
    if (peer.is_mirror) {
      peer.owed.insert(peer.owed.end(), bytes, bytes + length);
      continue;
    }
    CHECK(!peer.got.IsKnown() || peer.got.id == peer.id, "stream %lu got bytes of stream %lu", peer.id, peer.got.id);
    CHECK(peer.got.position <= peer.sent, "stream %lu got more than it sent", peer.id);
  }
  if (!peer.is_mirror) return true;
  if (!PayBack(peer)) return false;
  if (!peer.fin_got || !peer.owed.empty()) return true;
  if (uint64_t id = peer.Id(); id != 0) clean_ends[id] = 1;
  // Whoever has reset the stream since hears no end any more.
  if (!peer.wire->End() && !peer.wire->HasFailed()) return true;
  // Nothing is left to come.
  Drop(peer, false);
  return false;
}

// FIN or close_notify came.
bool Peers::Ended(Peer &peer) {
  if (peer.is_mirror) {
    peer.fin_got = true;
    return true;
  }
  // The reactor ends a stream by itself only when it was told to, and the script says so in `broken` before.
  if (broken[peer.id] == 0 && !MayBeUnknown(peer)) {
    CHECK(peer.fin_sent, "stream %lu ended before its source did, after %lu of %lu bytes", peer.id, peer.got.position,
          peer.sent);
    CHECK(peer.got.position == peer.sent, "stream %lu: %lu of %lu bytes came back", peer.id, peer.got.position,
          peer.sent);
    complete_++;
    complete_tls_ += peer.wire->IsTls();
  }
  Drop(peer, false);
  return false;
}

bool Peers::MayBeUnknown(const Peer &peer) const {
  return peer.got.position == 0 && (leaving > 0 || peer.exits_before != exits);
}

// RST needs no reason. Other ends that are none do: that nobody had accepted it yet, or that the script broke it off.
// (A refusal is an alert only with Node's OpenSSL: the distribution's does not export what sends it.)
bool Peers::BrokenOff(Peer &peer, Got how) {
  uint64_t id = peer.Id();
  bool is_unheard = peer.got.position == 0;
  bool has_a_reason = peer.manner == Manner::kGarbage || (id != 0 && broken[id] != 0);
  if (how == Got::kTruncated)
    CHECK(is_unheard || !peer.got.IsKnown() || has_a_reason, "stream %lu was truncated", id);
  if (how == Got::kAlert && !has_a_reason && peer.manner < Manner::kStranger) {
    int alert = peer.wire->Alert();
    CHECK(alert == kRefusal || alert == SSL_AD_UNKNOWN_CA, "stream %lu: alert %d", id, alert);
    CHECK(is_unheard, "stream %lu was refused after it had been accepted", id);
  }
  Drop(peer, false);
  return false;
}

void Peers::Finish(Peer &peer) {
  // Whose stream it is must be known, or its source would miss bytes for no reason that it could check.
  if (peer.is_mirror) {
    if (peer.got.IsKnown()) BreakOff(peer);
  } else if (random_.OneIn(2)) {
    BreakOff(peer);
  } else {
    clean_ends[peer.id] = 1;
    peer.wire->End();
    peer.fin_sent = true;
  }
}

// Leaves, in one of the ways in which one should not.
void Peers::BreakOff(Peer &peer) {
  broken[peer.Id()] = 1;
  if (peer.wire->IsTls() && random_.OneIn(2)) {
    if (random_.OneIn(2) && peer.wire->IsOpen() && !peer.fin_sent && !peer.fin_got) {
      misdeeds.spoilt++;
      peer.wire->Spoil();
    } else {
      peer.wire->SendPart(random_);
    }
  }
  Drop(peer, random_.OneIn(2));
}

// Of TLS: what is no end, or an end before there is a stream.
void Peers::Disturb(Peer &peer) {
  if (!peer.wire->IsTls()) return;
  if (peer.wire->IsOpen()) {
    misdeeds.key_updates++;
    peer.wire->UpdateKeys(random_.OneIn(2));
  } else if (peer.manner == Manner::kLeaves && random_.OneIn(2)) {
    if (!peer.is_mirror) broken[peer.id] = 1;
    peer.wire->SendPart(random_);
    Drop(peer, random_.OneIn(2));
    return;
  }
  if (random_.OneIn(16)) peer.wire->Stall(false);
}

void Peers::Drop(Peer &peer, bool with_reset) {
  if (with_reset) peer.wire->ResetOnClose();
  if (&peer != &all_.back()) peer = std::move(all_.back());
  all_.pop_back();
}

} // namespace culvert::driver
