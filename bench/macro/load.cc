// Load generator and server of the macro benchmarks: one thread, one epoll set, no dependency.
//
//   load serve ECHO SINK GREETING    echoes on one port, swallows on the next, greets on the third; prints "ready"
//   load closed OPTIONS TARGET...    a connection sends its next message when the answer is there
//   load rate OPTIONS TARGET...      a fixed rate; times count from when a message was due, so a stall is not hidden
//   load bulk OPTIONS TARGET         one stream, one way; the sink's own count of bytes ends the measurement
//   load connect OPTIONS TARGET...   connect, one message there and back, close (the client first), again
//   load greeting OPTIONS TARGET...  connect, send --question (hexadecimal) if there is one, wait for the server's
//   first
//                                    bytes, close (the client first), again
//
// Prints one JSON object. Every error is counted by name, none is hidden; CPU times are those of the measured window.
#include <cstdlib>
#include <cstring>
#include <string>

#include "connector.h"
#include "exchanges.h"
#include "server.h"
#include "sockets.h"

namespace {

void RunBulk(const Options &options, Report &report) {
  const int fd = OpenSocket(options.targets[0], 0);
  Window window(options.watched);
  window.Start();
  if (Connect(fd, options.targets[0]) != 0) Die("connect");
  const int64_t end = NowNs() + options.duration_ns;
  uint64_t sent = 0, swallowed = 0;
  while (NowNs() < end) {
    const ssize_t n = send(fd, chunk, sizeof chunk, MSG_NOSIGNAL);
    if (n < 0) Die("send");
    sent += static_cast<uint64_t>(n);
  }
  shutdown(fd, SHUT_WR);
  if (recv(fd, &swallowed, sizeof swallowed, MSG_WAITALL) != sizeof swallowed) Die("read the sink's count");
  window.End(report);
  if (sent != swallowed) ++report.errors["bytes lost"];
  report.count = swallowed;
}

// "10.0.0.1:80" or "[fd00::1]:80".
sockaddr_storage ParseTarget(const std::string &text) {
  sockaddr_storage address{};
  const size_t colon = text.rfind(':');
  const bool is_v6 = text[0] == '[';
  const std::string host = is_v6 ? text.substr(1, colon - 2) : text.substr(0, colon);
  const uint16_t port = htons(static_cast<uint16_t>(atoi(text.c_str() + colon + 1)));
  auto &in6 = reinterpret_cast<sockaddr_in6 &>(address);
  auto &in4 = reinterpret_cast<sockaddr_in &>(address);
  address.ss_family = is_v6 ? AF_INET6 : AF_INET;
  void *const bytes = is_v6 ? static_cast<void *>(&in6.sin6_addr) : &in4.sin_addr;
  if (inet_pton(address.ss_family, host.c_str(), bytes) != 1) Usage("not a target", text.c_str());
  (is_v6 ? in6.sin6_port : in4.sin_port) = port;
  return address;
}

std::string FromHex(const std::string &digits) {
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}

Options ParseOptions(int argc, char **argv) {
  Options options;
  options.mode = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) != 0) {
      options.targets.push_back(ParseTarget(word));
      continue;
    }
    if (++i == argc) Usage("a value is missing for", argv[i - 1]);
    const int64_t value = atoll(argv[i]);
    if (word == "--connections")
      options.connections = static_cast<size_t>(value);
    else if (word == "--size")
      options.size = static_cast<size_t>(value);
    else if (word == "--question")
      options.question = FromHex(argv[i]);
    else if (word == "--rate")
      options.rate = value;
    else if (word == "--warmup-ms")
      options.warmup_ns = value * 1'000'000;
    else if (word == "--duration-ms")
      options.duration_ns = value * 1'000'000;
    else if (word == "--bucket-ms")
      options.bucket_ns = value * 1'000'000;
    else if (word == "--watch")
      options.watched.push_back(static_cast<pid_t>(value));
    else
      Usage("unknown option", word.c_str());
  }
  if (options.targets.empty()) Usage("missing", "TARGET");
  if (options.mode == "rate" && options.rate <= 0) Usage("missing", "--rate");
  return options;
}

} // namespace

int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "serve") == 0) {
    const auto port = [argv](int i) { return static_cast<uint16_t>(atoi(argv[i])); };
    RunServer(port(2), port(3), port(4));
  }
  if (argc < 3) Usage("usage:", "load serve|closed|rate|bulk|connect|greeting …");
  const Options options = ParseOptions(argc, argv);
  Report report;
  if (options.mode == "closed" || options.mode == "rate")
    RunExchanges(options, report);
  else if (options.mode == "bulk")
    RunBulk(options, report);
  else if (options.mode == "connect" || options.mode == "greeting")
    Connector(options, report).Run();
  else
    Usage("unknown mode", options.mode.c_str());
  report.Print();
}
