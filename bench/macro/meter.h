// What load.cc measures with: clocks, CPU times of the proxy's processes and of the machine, and the report.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <sys/types.h>
#include <unistd.h>
#include <vector>

[[noreturn]] inline void Die(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, errno == 0 ? "no errno" : strerror(errno));
  exit(1);
}

[[noreturn]] inline void Usage(const char *what, const char *detail) {
  fprintf(stderr, "load: %s %s\n", what, detail);
  exit(2);
}

inline int64_t ToNs(const timespec &time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

inline int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return ToNs(now);
}

// utime + stime of all threads of a process, those that ended included. The clock has nanoseconds where
// /proc/<pid>/stat has ticks of 10 ms: at 2,000 messages/s a proxy uses only a few ticks a second.
inline int64_t ProcessCpuNs(pid_t pid) {
  clockid_t clock;
  timespec time;
  if (const int error = clock_getcpuclockid(pid, &clock); error != 0) {
    errno = error;
    Die("the proxy's CPU clock");
  }
  if (clock_gettime(clock, &time) != 0) Die("the proxy's CPU clock");
  return ToNs(time);
}

// All CPUs' time that was neither idle nor waiting for a disk nor taken by the hypervisor.
inline int64_t MachineCpuNs() {
  FILE *file = fopen("/proc/stat", "re");
  int64_t user, nice, system, idle, iowait, irq, softirq;
  if (file == nullptr ||
      fscanf(file, "cpu %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, &user, &nice,
             &system, &idle, &iowait, &irq, &softirq) != 7)
    Die("read /proc/stat");
  fclose(file);
  return (user + nice + system + irq + softirq) * (1'000'000'000 / sysconf(_SC_CLK_TCK));
}

struct Report {
  int64_t elapsed_ns = 0;
  int64_t process_cpu_ns = 0;
  int64_t machine_cpu_ns = 0;
  uint64_t count = 0; // messages, bytes or connections that were completed in the window
  std::vector<int64_t> latencies_ns;
  std::vector<uint64_t> series; // the count of each bucket of the window
  std::map<std::string, uint64_t> errors;

  int64_t Percentile(double share) {
    if (latencies_ns.empty()) return 0;
    const auto rank = static_cast<size_t>(share * static_cast<double>(latencies_ns.size() - 1));
    std::nth_element(latencies_ns.begin(), latencies_ns.begin() + static_cast<ptrdiff_t>(rank), latencies_ns.end());
    return latencies_ns[rank];
  }

  void Print() {
    printf("{\"elapsedNs\":%" PRId64 ",\"processCpuNs\":%" PRId64 ",\"machineCpuNs\":%" PRId64 ",\"count\":%" PRIu64,
           elapsed_ns, process_cpu_ns, machine_cpu_ns, count);
    printf(",\"p50Ns\":%" PRId64 ",\"p99Ns\":%" PRId64 ",\"series\":[", Percentile(0.5), Percentile(0.99));
    for (size_t i = 0; i < series.size(); ++i)
      printf("%s%" PRIu64, i == 0 ? "" : ",", series[i]);
    printf("],\"errors\":{");
    const char *separator = "";
    for (const auto &[name, times] : errors) {
      printf("%s\"%s\":%" PRIu64, separator, name.c_str(), times);
      separator = ",";
    }
    printf("}}\n");
  }
};

// The measured stretch of time.
class Window {
public:
  explicit Window(const std::vector<pid_t> &watched) : watched_(watched) {}

  void Start() {
    process_cpu_ns_ = WatchedCpuNs();
    machine_cpu_ns_ = MachineCpuNs();
    start_ns_ = NowNs();
  }
  void End(Report &report) const {
    report.elapsed_ns = NowNs() - start_ns_;
    report.process_cpu_ns = WatchedCpuNs() - process_cpu_ns_;
    report.machine_cpu_ns = MachineCpuNs() - machine_cpu_ns_;
  }

private:
  int64_t WatchedCpuNs() const {
    int64_t sum = 0;
    for (const pid_t pid : watched_)
      sum += ProcessCpuNs(pid);
    return sum;
  }

  const std::vector<pid_t> &watched_;
  int64_t start_ns_ = 0;
  int64_t process_cpu_ns_ = 0;
  int64_t machine_cpu_ns_ = 0;
};
