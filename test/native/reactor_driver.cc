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

long Failed(const Totals &t, TlsFailure failure) {
  return t.failures[int(failure)];
}

void ReportTls(const Totals &t) {
  printf("TLS: %.0f handshakes completed, %ld accepted late, %ld refused, %ld timed out, %ld truncated, %ld not TLS, "
         "%ld malformed, %ld untrusted, %ld without certificate, %ld with another protocol, %ld broken off by the peer, "
         "%ld without a context, %ld key updates of peers, %ld complete streams over TLS\n",
         t.stats[kStatTlsEstablished], t.accepted_late, t.refused, Failed(t, TlsFailure::kTimeout),
         Failed(t, TlsFailure::kTruncated), Failed(t, TlsFailure::kNotTls), Failed(t, TlsFailure::kProtocol),
         Failed(t, TlsFailure::kUntrusted), Failed(t, TlsFailure::kNoCertificate), Failed(t, TlsFailure::kApplication),
         Failed(t, TlsFailure::kPeerAlert), Failed(t, TlsFailure::kNoContext), misdeeds.key_updates.load(),
         t.complete_tls);
}

// Nothing failed for a reason that no peer gave.
void CheckFailures(const Totals &t) {
  auto peers = [](Manner manner) { return misdeeds.by_manner[int(manner)].load(); };
  long garbage = peers(Manner::kGarbage);
  CHECK(Failed(t, TlsFailure::kNotTls) <= garbage, "not TLS");
  CHECK(Failed(t, TlsFailure::kProtocol) <= garbage + misdeeds.spoilt, "malformed");
  CHECK(Failed(t, TlsFailure::kNoCertificate) <= peers(Manner::kNobody), "no certificate");
  CHECK(Failed(t, TlsFailure::kApplication) <= peers(Manner::kOtherProtocol), "ALPN");
  for (TlsFailure never : {TlsFailure::kVersion, TlsFailure::kNothingInCommon, TlsFailure::kExpired,
                           TlsFailure::kNotYetValid, TlsFailure::kWrongUsage, TlsFailure::kBadCertificate})
    CHECK(Failed(t, never) == 0, "failure %d", int(never));
}

} // namespace

int main(int argc, char **argv) {
  int workers = argc > 1 ? atoi(argv[1]) : 3;
  long steps = argc > 2 ? atol(argv[2]) : 200'000;
  seed = argc > 3 ? strtoull(argv[3], nullptr, 10) : 1;
  // The netns thread lives as long as the process, and so does its descriptor.
  NetnsThread::Instance().Run(-1, [](int) {});
  Credentials::Instance().SetContexts();
  int before = OpenDescriptors();
  Worker::Listeners listeners{};
  for (int i : {0, 1})
    listeners.fds[i] = Worker::Listen(&listeners.ports[i], 512);
  Totals all_totals{};
  {
    std::vector<std::unique_ptr<Worker>> all;
    for (int i = 0; i < workers; i++)
      all.push_back(std::make_unique<Worker>(i, listeners, seed));
    std::atomic<int> stepping{workers}, unsettled{workers};
    std::vector<std::thread> threads;
    for (int i = 0; i < workers; i++)
      threads.emplace_back([&, i] {
        Worker &worker = *all[size_t(i)];
        for (long step = i; step < steps; step += workers)
          worker.Step();
        stepping--;
        // A worker's peers may be served by another: all go on until all have come to rest. In a long run some are done
        // with their steps minutes before others.
        int64_t deadline = 0;
        bool is_settled = false;
        while (unsettled > 0) {
          bool now = worker.Settle();
          if (now != is_settled) unsettled += now ? -1 : 1;
          is_settled = now;
          if (stepping > 0) continue;
          if (deadline == 0) deadline = Timers::NowNs() + 120'000'000'000;
          CHECK(Timers::NowNs() < deadline, "worker %d does not come to rest", i);
        }
      });
    for (std::thread &thread : threads)
      thread.join();
    for (int i = 0; i < workers; i++) {
      all[size_t(i)]->CheckGivenBack();
      Totals totals = all[size_t(i)]->Sum();
      Report(i, totals);
      all_totals.stats[kStatTlsEstablished] += totals.stats[kStatTlsEstablished];
      all_totals.accepted_late += totals.accepted_late;
      all_totals.refused += totals.refused;
      all_totals.complete_tls += totals.complete_tls;
      for (int failure = 0; failure < Model::kFailures; failure++)
        all_totals.failures[failure] += totals.failures[failure];
    }
  }
  ReportTls(all_totals);
  CheckFailures(all_totals);
  for (int fd : listeners.fds)
    close(fd);
  // Sockets that the netns thread was making when their reactor closed are its to close.
  NetnsThread::Instance().Run(-1, [](int) {});
  int after = OpenDescriptors();
  CHECK(before == after, "%d descriptors before, %d after", before, after);
  printf("%d workers, %ld steps, seed %lu: ok\n", workers, steps, seed);
}
