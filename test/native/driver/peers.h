// The other ends: blocking-free sockets of the driver, plain or with TLS.
//
// A *source* sends its own canary and expects it back: a prefix of it as long as it lives, all of it if nobody broke
// the stream off. A *mirror* stands behind a relay: it sends back whatever one stream brings, and an end for an end.
// Those with TLS are not all good ones.
#pragma once

#include "canary.h"
#include "credentials.h"
#include "wire.h"

#include <memory>
#include <vector>

namespace culvert::driver {

// How a peer with TLS behaves in its handshake.
enum class Manner {
  kGood,
  kDribbles,      // a byte at a time
  kStalls,        // says nothing for long
  kLeaves,        // in the middle of it
  kGarbage,       // no TLS at all
  kStranger,      // another authority's certificate
  kNobody,        // no certificate
  kOtherProtocol, // ALPN
  kCount
};

// What peers did, of all workers.
struct Misdeeds {
  std::atomic<long> by_manner[int(Manner::kCount)];
  std::atomic<long> spoilt, key_updates;
};
inline Misdeeds misdeeds;

struct Peer {
  std::unique_ptr<Wire> wire;
  bool is_mirror;
  Manner manner = Manner::kGood;
  uint64_t id = 0;           // of a source
  uint64_t sent = 0;         // by a source
  Follower got;              // what came
  bool fin_sent = false;     //
  bool fin_got = false;      // of a mirror
  uint64_t exits_before = 0; // when it was connected
  std::vector<uint8_t> owed; // by a mirror

  uint64_t Id() const { return is_mirror ? (got.IsKnown() ? got.id : 0) : id; }
};

class Peers {
public:
  static constexpr size_t kMost = 48;

  explicit Peers(Random &random) : random_(random) {}

  bool HasRoom() const { return all_.size() < kMost; }
  bool IsEmpty() const { return all_.empty(); }
  // Connects a new source to 127.x.y.z: many addresses, or the ports in TIME_WAIT would run out.
  void Dial(uint16_t port, bool is_tls);
  // `exits_before`: how many there had been when the connection was made; kAnyExits if that is not known.
  static constexpr uint64_t kAnyExits = UINT64_MAX;
  void Accepted(int fd, bool is_tls, bool is_mirror) { Add(fd, is_tls, true, is_mirror, kAnyExits); }
  // One random peer does one random thing.
  void Act();
  // All end what they send and take what comes.
  void Settle();

  long Complete() const { return complete_; }
  long CompleteTls() const { return complete_tls_; }

private:
  void Add(int fd, bool is_tls, bool is_server, bool is_mirror, uint64_t exits_before);
  // Each is false when the peer is gone.
  bool Receive(Peer &peer, size_t most);
  bool Ended(Peer &peer);
  bool BrokenOff(Peer &peer, Got how);
  bool PayBack(Peer &peer);
  void Send(Peer &peer);
  void Finish(Peer &peer);
  void Disturb(Peer &peer);
  void BreakOff(Peer &peer);
  void Drop(Peer &peer, bool with_reset);
  bool MayBeUnknown(const Peer &peer) const;

  Random &random_;
  std::vector<Peer> all_;
  long complete_ = 0;
  long complete_tls_ = 0;
};

} // namespace culvert::driver
