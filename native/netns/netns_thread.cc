#include "netns/netns_thread.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sched.h>
#include <thread>
#include <unistd.h>

namespace culvert {

// Never destroyed: the detached thread uses it until the process ends.
NetnsThread &NetnsThread::Instance() {
  static auto *instance = new NetnsThread();
  return *instance;
}

NetnsThread::NetnsThread() {
  std::thread([this] { Loop(); }).detach();
}

void NetnsThread::Post(int netns, Task task) {
  Post(netns, std::move(task), nullptr);
}

void NetnsThread::Post(int netns, Task task, std::function<void()> returned) {
  int own = fcntl(netns, F_DUPFD_CLOEXEC, 0);
  int error = own < 0 ? errno : 0;
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back({own, error, std::move(task), std::move(returned)});
  }
  wakeup_.notify_one();
}

void NetnsThread::Run(int netns, const Task &task) {
  std::mutex mutex;
  std::condition_variable done;
  bool finished = false;
  Post(netns, task, [&] {
    std::lock_guard lock(mutex);
    finished = true;
    done.notify_one();
  });
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return finished; });
}

void NetnsThread::Loop() {
  int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) {
    perror("culvert: open the own network namespace");
    abort();
  }
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wakeup_.wait(lock, [this] { return !jobs_.empty(); });
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    if (job.error == 0 && setns(job.netns, CLONE_NEWNET) != 0) job.error = errno;
    job.task(job.error);
    if (job.error == 0 && setns(home, CLONE_NEWNET) != 0) {
      perror("culvert: return from a pod's network namespace");
      abort();
    }
    if (job.netns >= 0) close(job.netns);
    if (job.returned) job.returned();
  }
}

} // namespace culvert
