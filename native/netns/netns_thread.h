// The one thread of this process that enters other network namespaces. A socket belongs for life to the namespace in
// which it was created, so whoever needs one in a pod asks here. Never libuv's pool: a pool thread left in a pod's
// namespace would open control-plane sockets there. The process is aborted if the thread cannot come home.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace culvert {

class NetnsThread {
public:
  // Runs inside the namespace (error = 0), or at home with the errno with which entering failed.
  using Task = std::function<void(int error)>;

  static NetnsThread &Instance();

  // `netns` is duplicated: the caller may close its own at once. Tasks run in the order in which they were posted.
  void Post(int netns, Task task);
  // Runs the task and waits for it, and for the thread to have left the namespace and its duplicate.
  void Run(int netns, const Task &task);

private:
  struct Job {
    int netns;
    int error;
    Task task;
    std::function<void()> returned; // called when the thread is home again; or none
  };

  NetnsThread();
  void Post(int netns, Task task, std::function<void()> returned);
  [[noreturn]] void Loop();

  std::mutex mutex_;
  std::condition_variable wakeup_;
  std::deque<Job> jobs_;
};

} // namespace culvert
