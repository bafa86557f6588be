// Streams whose every byte is checked, while the test kills, stops and cuts off whatever it likes.
// Usage: storm listen PORT; or storm PORT STREAMS STALL_S SEED ADDRESS…
//
// The listener sends back what it gets, with back-pressure, and a FIN for a FIN. The client keeps STREAMS open until
// its standard input ends, each to the next address: it sends up to 256 KiB that only that stream makes, reads them
// back now and then, and ends by FIN (then all must come back), or by RST at a random moment. One that fails or stands
// still for STALL_S seconds is given up, by RST. Its sockets end by RST if it is killed. Prints at the end
// {"complete":N,"broken":N,"failed":N,"truncated":N,"wrong":N}: `broken` by itself; `failed` by an error or a
// standstill; `truncated` by a FIN too early; `wrong`: a foreign byte.
#include "tool.h"

enum { max_streams = 256, max_targets = 16, chunk = 1 << 16 };

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static uint64_t random_state;
static uint64_t random_below(uint64_t n) {
  return mix(random_state += 0x9e3779b97f4a7c15) % n;
}

static unsigned char byte_of(uint64_t id, uint64_t position) {
  return (unsigned char)(mix(id * 0x9e3779b97f4a7c15 + position / 8) >> 8 * (position % 8));
}

// --- the listener

struct echoed {
  int fd, got_fin;
  size_t have, offset;
  char bytes[chunk];
};

static void end_echo(struct echoed *e) {
  close(e->fd);
  free(e);
}

static void echo_some(int poller, struct echoed *e) {
  for (;;) {
    while (e->offset < e->have) {
      ssize_t n = send(e->fd, e->bytes + e->offset, e->have - e->offset, MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return end_echo(e);
      if (n < 0) {
        struct epoll_event event = {.events = EPOLLOUT, .data.ptr = e};
        epoll_ctl(poller, EPOLL_CTL_MOD, e->fd, &event);
        return;
      }
      e->offset += n;
    }
    if (e->got_fin) return end_echo(e);
    ssize_t n = recv(e->fd, e->bytes, sizeof e->bytes, 0);
    if (n < 0 && errno != EAGAIN) return end_echo(e);
    if (n < 0) break;
    e->got_fin = n == 0;
    e->have = n, e->offset = 0;
  }
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = e};
  epoll_ctl(poller, EPOLL_CTL_MOD, e->fd, &event);
}

static void serve(int port) {
  int listener = listen_on("::", port), poller = epoll_create1(0);
  fcntl(listener, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(poller, ready, 256, -1);
    for (int i = 0; i < count; i++) {
      if (ready[i].data.ptr != NULL) {
        echo_some(poller, ready[i].data.ptr);
        continue;
      }
      for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        struct echoed *e = calloc(1, sizeof *e);
        e->fd = fd;
        event = (struct epoll_event){.events = EPOLLIN, .data.ptr = e};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
      }
    }
  }
}

// --- the client

struct stream {
  int fd, fin_sent;
  uint64_t id, length, sent, received;
  uint64_t reset_at; // bytes sent; more than length: never
  double moved, pause_until;
};

static struct stream streams[max_streams];
static struct sockaddr_storage targets[max_targets];
static socklen_t lengths[max_targets];
static int target_count, stream_count, stall_s, stopped;
static uint64_t next_id;
static long complete, broken, failed, truncated, wrong;

static void finish(struct stream *s, long *how) {
  ++*how;
  close(s->fd);
  s->fd = -1;
}

static void begin(struct stream *s) {
  struct linger abrupt = {.l_onoff = 1, .l_linger = 0};
  uint64_t id = next_id++;
  *s = (struct stream){
      .id = id, .length = 1 + random_below((uint64_t)1 << (1 + random_below(18))), .moved = seconds_now()};
  s->reset_at = random_below(4) == 0 ? random_below(s->length) : UINT64_MAX;
  int target = (int)(id % (uint64_t)target_count);
  s->fd = socket(targets[target].ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (s->fd < 0) die("socket");
  setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
  if (connect(s->fd, (struct sockaddr *)&targets[target], lengths[target]) != 0 && errno != EINPROGRESS)
    finish(s, &failed);
}

static void write_some(struct stream *s) {
  static char bytes[chunk];
  while (s->sent < s->length) {
    uint64_t size = 1 + random_below((uint64_t)1 << random_below(17));
    if (size > s->length - s->sent) size = s->length - s->sent;
    for (uint64_t i = 0; i < size; i++)
      bytes[i] = (char)byte_of(s->id, s->sent + i);
    ssize_t n = send(s->fd, bytes, size, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
    if (n < 0) return finish(s, &failed);
    s->sent += (uint64_t)n;
    s->moved = seconds_now();
    if (s->sent > s->reset_at) return finish(s, &broken);
    if (random_below(8) == 0) return;
  }
  if (!s->fin_sent) shutdown(s->fd, SHUT_WR);
  s->fin_sent = 1;
}

static void read_some(struct stream *s) {
  static unsigned char bytes[chunk];
  ssize_t n = recv(s->fd, bytes, 1 + random_below(sizeof bytes), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return finish(s, &failed);
  if (n == 0) return finish(s, s->received == s->length ? &complete : &truncated);
  s->moved = seconds_now();
  for (ssize_t i = 0; i < n; i++)
    if (bytes[i] != byte_of(s->id, s->received + (uint64_t)i)) {
      fprintf(stderr, "stream %llx: a foreign byte at %llu of %llu\n", (unsigned long long)s->id,
              (unsigned long long)(s->received + (uint64_t)i), (unsigned long long)s->length);
      return finish(s, &wrong);
    }
  s->received += (uint64_t)n;
  if (random_below(32) == 0) s->pause_until = s->moved + (double)random_below(50) / 1e3;
}

static void run(void) {
  struct pollfd polled[max_streams + 1];
  for (;;) {
    int open = 0;
    double now = seconds_now();
    for (int i = 0; i < stream_count; i++) {
      struct stream *s = &streams[i];
      if (s->fd < 0 && !stopped) begin(s);
      short events = (short)((now >= s->pause_until ? POLLIN : 0) | (s->fin_sent ? 0 : POLLOUT));
      polled[i] = (struct pollfd){.fd = events == 0 ? -1 : s->fd, .events = events};
      open += s->fd >= 0;
    }
    polled[stream_count] = (struct pollfd){.fd = stopped ? -1 : 0, .events = POLLIN};
    if (open == 0 && stopped) return;
    poll(polled, (nfds_t)stream_count + 1, 10);
    char line[64];
    if (polled[stream_count].revents != 0 && read(0, line, sizeof line) <= 0) stopped = 1;
    for (int i = 0; i < stream_count; i++) {
      struct stream *s = &streams[i];
      if (s->fd < 0) continue;
      if (polled[i].fd >= 0 && polled[i].revents & POLLOUT) write_some(s);
      if (s->fd >= 0 && polled[i].fd >= 0 && polled[i].revents & (POLLIN | POLLHUP | POLLERR)) read_some(s);
      if (s->fd >= 0 && seconds_now() - s->moved > stall_s) finish(s, &failed);
    }
  }
}

int main(int argc, char **argv) {
  raise_descriptor_limit();
  if (argc == 3 && strcmp(argv[1], "listen") == 0) serve(atoi(argv[2]));
  target_count = argc - 5;
  if (target_count < 1 || target_count > max_targets)
    return fprintf(stderr, "usage: storm listen PORT | storm PORT STREAMS STALL_S SEED ADDRESS...\n"), 2;
  stream_count = atoi(argv[2]);
  if (stream_count < 1 || stream_count > max_streams) return fprintf(stderr, "streams: 1 to %d\n", max_streams), 2;
  stall_s = atoi(argv[3]);
  random_state = mix(strtoull(argv[4], NULL, 10));
  next_id = random_state << 24; // of two clients none makes the other's bytes
  for (int i = 0; i < target_count; i++)
    lengths[i] = parse_address(argv[5 + i], atoi(argv[1]), &targets[i]);
  for (int i = 0; i < stream_count; i++)
    streams[i].fd = -1;
  run();
  printf("{\"complete\":%ld,\"broken\":%ld,\"failed\":%ld,\"truncated\":%ld,\"wrong\":%ld}\n", complete, broken, failed,
         truncated, wrong);
}
