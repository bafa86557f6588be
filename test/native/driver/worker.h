// One worker: a reactor with its script, and peers for it, on one thread. It does one random thing a step.
#pragma once

#include "peers.h"
#include "script.h"

#include <memory>

namespace culvert::driver {

struct Totals {
  double stats[kStatCount];
  long connects, relays, timers_fired, blocked, refusals, complete, exits;
  long complete_tls, refused, accepted_late;
  long failures[Model::kFailures];
};

class Worker {
public:
  // What all workers share: plain, and with TLS.
  struct Listeners {
    int fds[2];
    uint16_t ports[2];
  };

  Worker(int index, const Listeners &shared, uint64_t seed);
  ~Worker();

  void Step();
  // Lets every stream come to its end. True when all has come to rest.
  bool Settle();
  // That everything is given back.
  void CheckGivenBack();
  Totals Sum() const;

  static int Listen(uint16_t *port, int backlog);

private:
  void Enter();
  // Closes the reactor with all that it has, as a worker that ends does; another one takes its place.
  void Exit();
  void Relisten();
  void Turn(int timeout_ms);
  void AcceptForPeers();

  // Descriptors that come while the reactor is closing.
  void PostLate(int *others);

  int index_;
  const Listeners &shared_;
  Random random_;
  Ports ports_{};
  int mirror_listeners_[2], source_listeners_[2]; // plain, and with TLS
  int silent_listener_;
  int fillers_[3]; // what keeps the silent listener's queue full
  Peers peers_;
  std::vector<double> stats_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Script> script_;
  int32_t next_listener_id_ = 1; // the plain one's; the other's is one more
  bool has_listener_ = false;
  bool stops_ = false; // the script says that the worker must end
  Totals past_{};      // of reactors that are closed
};

} // namespace culvert::driver
