// Short connections that the client closes first: connect, one byte there, one byte back, close.
// Usage: churn ADDRESS PORT CONNECTIONS CONCURRENCY [FIRST_SOURCE_PORT]; CONNECTIONS 0: until standard input ends. With
// a first source port, connections bind that, the next, and so on, instead of a port of the kernel's choice.
// A line on standard input begins a new phase: connections are counted in the phase in which they were *started*.
// Prints "phase" when one begins, and at the end a JSON line:
// [{"succeeded":N,"direct":N,"failed":{"ECONNRESET":2},"seconds":1.5}, …]; "direct" are those that were connected, well or
// not, to something beyond this namespace, which a captured one is not.
#include "tool.h"

enum { max_phases = 16, max_concurrency = 256 };

struct phase {
  long succeeded;
  long direct;
  long failed[256]; // by errno
  double began;
};
struct connection {
  int fd, phase, sent;
  double began;
};

static struct phase phases[max_phases];
static struct connection connections[max_concurrency];
static double patience_seconds = 10; // or CHURN_PATIENCE_S: how long a connection may take
static int poller, current, concurrency;
static long started, limit, open_count;
static struct sockaddr_storage target;
static socklen_t target_length;
static int next_source_port;

static void open_next(struct connection *c);

static void finish(struct connection *c, int error) {
  struct phase *phase = &phases[c->phase];
  if (error == 0)
    phase->succeeded++;
  else
    phase->failed[error & 255]++;
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  open_count--;
}

static int bind_next_port(int fd) {
  struct sockaddr_storage source;
  socklen_t length = parse_address(target.ss_family == AF_INET ? "0.0.0.0" : "::", next_source_port++, &source);
  return bind(fd, (struct sockaddr *)&source, length);
}

static void open_next(struct connection *c) {
  while (limit == 0 || started < limit) {
    started++;
    open_count++;
    *c = (struct connection){.phase = current, .began = seconds_now()};
    c->fd = socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd >= 0 && (next_source_port == 0 || bind_next_port(c->fd) == 0) &&
        (connect(c->fd, (struct sockaddr *)&target, target_length) == 0 || errno == EINPROGRESS)) {
      struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
      epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
      return;
    }
    finish(c, errno);
    if (limit == 0) return; // The caller's turn looks again: no busy loop while everything fails at once.
  }
}

static void advance(struct connection *c) {
  char byte = 'x';
  int error = 0;
  socklen_t length = sizeof error;
  if (!c->sent) {
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == 0) phases[c->phase].direct += leaves_namespace(c->fd);
    if (error == 0 && send(c->fd, &byte, 1, MSG_NOSIGNAL) != 1) error = errno;
    if (error != 0) return finish(c, error);
    c->sent = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    return;
  }
  ssize_t n = recv(c->fd, &byte, 1, 0);
  if (n < 0 && errno == EAGAIN) return;
  // A FIN instead of the answer is a failure too; ENODATA stands for it.
  finish(c, n == 1 ? (byte == 'x' ? 0 : EBADMSG) : n == 0 ? ENODATA : errno);
}

static void print_result(void) {
  double end = seconds_now();
  printf("[");
  for (int i = 0; i <= current; i++) {
    printf("%s{\"succeeded\":%ld,\"direct\":%ld,\"failed\":{", i ? "," : "", phases[i].succeeded, phases[i].direct);
    const char *separator = "";
    for (int error = 0; error < 256; error++) {
      if (phases[i].failed[error] == 0) continue;
      printf("%s\"%s\":%ld", separator, strerrorname_np(error), phases[i].failed[error]);
      separator = ",";
    }
    printf("},\"seconds\":%.3f}", (i < current ? phases[i + 1].began : end) - phases[i].began);
  }
  puts("]");
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 6)
    return fprintf(stderr, "usage: churn ADDRESS PORT CONNECTIONS CONCURRENCY [FIRST_SOURCE_PORT]\n"), 2;
  raise_descriptor_limit();
  if (getenv("CHURN_PATIENCE_S") != NULL) patience_seconds = atof(getenv("CHURN_PATIENCE_S"));
  setvbuf(stdout, NULL, _IOLBF, 0);
  target_length = parse_address(argv[1], atoi(argv[2]), &target);
  limit = atol(argv[3]);
  next_source_port = argc == 6 ? atoi(argv[5]) : 0;
  int endless = limit == 0, watches_input = endless, stopped = 0;
  concurrency = atoi(argv[4]);
  if (concurrency < 1 || concurrency > max_concurrency)
    return fprintf(stderr, "concurrency: 1 to %d\n", max_concurrency), 2;
  poller = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready[max_concurrency + 1];
  if (watches_input) epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
  phases[0].began = seconds_now();
  for (int i = 0; i < concurrency; i++)
    connections[i].fd = -1;
  puts("phase");
  for (;;) {
    for (int i = 0; i < concurrency && !stopped; i++)
      if (connections[i].fd < 0) open_next(&connections[i]);
    if (open_count == 0 && (stopped || (!endless && started >= limit))) break;
    int count = epoll_wait(poller, ready, max_concurrency + 1, open_count == 0 ? 1 : 100);
    for (int i = 0; i < count; i++) {
      struct connection *c = ready[i].data.ptr;
      if (c != NULL) {
        if (c->fd >= 0) advance(c);
        continue;
      }
      char line[64];
      if (read(0, line, sizeof line) <= 0) {
        stopped = 1;
        epoll_ctl(poller, EPOLL_CTL_DEL, 0, NULL);
      } else if (current + 1 < max_phases) {
        phases[++current].began = seconds_now();
        puts("phase");
      }
    }
    double now = seconds_now();
    if (count == 0)
      for (int i = 0; i < concurrency; i++)
        if (connections[i].fd >= 0 && now - connections[i].began > patience_seconds) finish(&connections[i], ETIMEDOUT);
  }
  print_result();
}
