// The other ends: plain blocking-free sockets of the driver.
//
// A *source* sends its own canary and expects it back: a prefix of it as long as it lives, all of it if nobody broke
// the stream off. A *mirror* stands behind a relay: it sends back whatever one stream brings, and a FIN for a FIN.
#pragma once

#include "canary.h"

#include <vector>

namespace culvert::driver {

struct Peer {
  int fd;
  bool is_mirror;
  uint64_t id = 0;           // of a source
  uint64_t sent = 0;         // by a source
  Follower got;              // what came
  bool fin_sent = false;     //
  bool fin_got = false;      // of a mirror
  uint64_t exits_before;     // when it was connected
  std::vector<uint8_t> owed; // by a mirror
};

class Peers {
public:
  static constexpr size_t kMost = 48;

  explicit Peers(Random &random) : random_(random) {}
  ~Peers();

  bool HasRoom() const { return all_.size() < kMost; }
  bool IsEmpty() const { return all_.empty(); }
  // Connects a new source to 127.x.y.z: many addresses, or the ports in TIME_WAIT would run out.
  void Dial(uint16_t port);
  // `exits_before`: how many there had been when the connection was made; kAnyExits if that is not known.
  static constexpr uint64_t kAnyExits = UINT64_MAX;
  void Add(int fd, bool is_mirror, uint64_t exits_before);
  // One random peer does one random thing.
  void Act();
  // All end what they send and take what comes.
  void Settle();

  long Complete() const { return complete_; }

private:
  // Each is false when the peer is gone.
  bool Receive(Peer &peer, size_t most);
  bool PayBack(Peer &peer);
  void Send(Peer &peer);
  void Finish(Peer &peer);
  void Drop(Peer &peer, bool with_reset);

  Random &random_;
  std::vector<Peer> all_;
  long complete_ = 0;
};

} // namespace culvert::driver
