// Drives reactors with random events and commands, several at once in threads, and checks what must always hold: no
// byte of one connection appears on another, what the model says of every event (driver/model.h), and that in the end
// all blocks and descriptors are back. Built without Node under sanitizers by scripts/test-native.sh.
//
// Usage: reactor_driver <workers> <steps of all together> <seed>. The seed fixes what each worker decides to do; when
// bytes and threads arrive is the kernel's choice, so a failure that depends on it may need several runs of its seed.
#include "driver/worker.h"
#include "netns/netns_thread.h"

#include <dirent.h>
#include <thread>
#include <unistd.h>

using namespace culvert;
using namespace culvert::driver;

namespace {

int OpenDescriptors() {
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr)
    count++;
  closedir(directory);
  return count;
}

void Report(int index, const Totals &t) {
  printf(
      "worker %d: %.0f accepted, %.0f handed over, %ld connects (%ld refused or timed out), %ld relays, %.0f events, "
      "%.0f commands, %ld blocked writes, %ld timers, %.0f stale handles, %.0f starved reads, %ld exits, %.1f MB, "
      "%ld complete streams\n",
      index, t.stats[kStatAccepted], t.stats[kStatHandedOver], t.connects, t.refusals, t.relays, t.stats[kStatEvents],
      t.stats[kStatCommands], t.blocked, t.timers_fired, t.stats[kStatStaleHandles], t.stats[kStatStarvedReads],
      t.exits, t.stats[kStatBytesRead] / 1e6, t.complete);
}

} // namespace

int main(int argc, char **argv) {
  int workers = argc > 1 ? atoi(argv[1]) : 3;
  long steps = argc > 2 ? atol(argv[2]) : 200'000;
  seed = argc > 3 ? strtoull(argv[3], nullptr, 10) : 1;
  // The netns thread lives as long as the process, and so does its descriptor.
  NetnsThread::Instance().Run(-1, [](int) {});
  int before = OpenDescriptors();
  uint16_t port = 0;
  int listener = Worker::Listen(&port, 512);
  {
    std::vector<std::unique_ptr<Worker>> all;
    for (int i = 0; i < workers; i++)
      all.push_back(std::make_unique<Worker>(i, listener, port, seed));
    std::atomic<int> unsettled{workers};
    std::vector<std::thread> threads;
    for (int i = 0; i < workers; i++)
      threads.emplace_back([&, i] {
        Worker &worker = *all[size_t(i)];
        for (long step = i; step < steps; step += workers)
          worker.Step();
        // A worker's peers may be served by another: all go on until all have come to rest.
        int64_t deadline = Timers::NowNs() + 120'000'000'000;
        bool is_settled = false;
        while (unsettled > 0) {
          bool now = worker.Settle();
          if (now != is_settled) unsettled += now ? -1 : 1;
          is_settled = now;
          CHECK(Timers::NowNs() < deadline, "worker %d does not come to rest", i);
        }
      });
    for (std::thread &thread : threads)
      thread.join();
    for (int i = 0; i < workers; i++) {
      all[size_t(i)]->CheckGivenBack();
      Report(i, all[size_t(i)]->Sum());
    }
  }
  close(listener);
  // Sockets that the netns thread was making when their reactor closed are its to close.
  NetnsThread::Instance().Run(-1, [](int) {});
  int after = OpenDescriptors();
  CHECK(before == after, "%d descriptors before, %d after", before, after);
  printf("%d workers, %ld steps, seed %lu: ok\n", workers, steps, seed);
}
