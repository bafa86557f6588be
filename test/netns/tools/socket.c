// One TCP socket under remote control: a call a line on standard input, a JSON line with its outcome on standard
// output. See harness/remote-socket.ts for what the calls mean. Blocking calls give up after 10 s with ETIMEDOUT.
#include "tool.h"

static int listener = -1, fd = -1;

static void fail(void) {
  printf("{\"error\":\"%s\"}\n", strerrorname_np(errno == EAGAIN || errno == EINPROGRESS ? ETIMEDOUT : errno));
}

static void done(int result) {
  if (result < 0)
    fail();
  else
    puts("{}");
}

static void bound_waits(int socket) {
  struct timeval timeout = {.tv_sec = 10};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

static int do_connect(const char *address, int port, const char *from, int from_port) {
  struct sockaddr_storage name, source;
  socklen_t length = parse_address(address, port, &name);
  fd = socket(name.ss_family, SOCK_STREAM, 0);
  bound_waits(fd);
  if (from != NULL) {
    socklen_t source_length = parse_address(from, from_port, &source);
    if (bind(fd, (struct sockaddr *)&source, source_length)) return -1;
  }
  return connect(fd, (struct sockaddr *)&name, length);
}

static int do_bind(const char *address, int port) {
  struct sockaddr_storage name;
  socklen_t length = parse_address(address, port, &name);
  int bound = socket(name.ss_family, SOCK_STREAM, 0), result = bind(bound, (struct sockaddr *)&name, length);
  int error = errno;
  close(bound);
  errno = error;
  return result;
}

// How many connections the listener's queue holds.
static void do_waiting(void) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &length))
    fail();
  else
    printf("{\"bytes\":%u}\n", info.tcpi_unacked); // of a listener: its queue
}

static void do_names(void) {
  struct sockaddr_storage local, peer;
  socklen_t local_length = sizeof local, peer_length = sizeof peer;
  char l[80], p[80];
  if (getsockname(fd, (struct sockaddr *)&local, &local_length) ||
      getpeername(fd, (struct sockaddr *)&peer, &peer_length))
    fail();
  else
    printf("{\"local\":\"%s\",\"peer\":\"%s\"}\n", format_address(&local, l, sizeof l),
           format_address(&peer, p, sizeof p));
}

static int do_send(const char *hex) {
  for (; hex[0] && hex[1]; hex += 2) {
    unsigned byte;
    sscanf(hex, "%2x", &byte);
    char c = (char)byte;
    if (send(fd, &c, 1, MSG_NOSIGNAL | (hex[2] && hex[3] ? MSG_MORE : 0)) < 0) return -1;
  }
  return 0;
}

static void do_receive(size_t wanted) {
  char *bytes = malloc(wanted);
  size_t have = 0;
  while (have < wanted) {
    ssize_t n = recv(fd, bytes + have, wanted - have, 0);
    if (n < 0) return free(bytes), fail();
    if (n == 0) return free(bytes), (void)puts("{\"error\":\"end of stream\"}");
    have += n;
  }
  printf("{\"hex\":\"");
  for (size_t i = 0; i < have; i++)
    printf("%02x", (unsigned char)bytes[i]);
  puts("\"}");
  free(bytes);
}

static void do_fill(long long limit) {
  static char zeros[65536];
  long long sent = 0;
  struct pollfd writable = {.fd = fd, .events = POLLOUT};
  while (sent < limit && poll(&writable, 1, 1000) == 1) {
    ssize_t n = send(fd, zeros, sizeof zeros, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) break;
    if (n > 0) sent += n;
  }
  printf("{\"bytes\":%lld}\n", sent);
}

static void do_ending(void) {
  static char bytes[262144];
  long long received = 0;
  ssize_t n;
  while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
    received += n;
  if (n == 0)
    printf("{\"bytes\":%lld}\n", received);
  else
    printf("{\"bytes\":%lld,\"error\":\"%s\"}\n", received, strerrorname_np(errno == EAGAIN ? ETIMEDOUT : errno));
}

static int do_reset(void) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  return close(fd);
}

int main(void) {
  char *line = NULL;
  size_t size = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (getline(&line, &size, stdin) > 0) {
    char *call = strtok(line, " \n"), *a = strtok(NULL, " \n"), *b = strtok(NULL, " \n"), *c = strtok(NULL, " \n");
    char *d = strtok(NULL, " \n");
    if (call == NULL) continue;
    if (!strcmp(call, "connect"))
      done(do_connect(a, atoi(b), c, d == NULL ? 0 : atoi(d)));
    else if (!strcmp(call, "listen"))
      done(listener = listen_on(a, atoi(b)));
    else if (!strcmp(call, "bind"))
      done(do_bind(a, atoi(b)));
    else if (!strcmp(call, "waiting"))
      do_waiting();
    else if (!strcmp(call, "accept")) {
      struct pollfd readable = {.fd = listener, .events = POLLIN};
      errno = ETIMEDOUT;
      fd = poll(&readable, 1, 10000) == 1 ? accept(listener, NULL, NULL) : -1;
      if (fd >= 0) bound_waits(fd);
      done(fd);
    } else if (!strcmp(call, "names"))
      do_names();
    else if (!strcmp(call, "send"))
      done(do_send(a == NULL ? "" : a));
    else if (!strcmp(call, "receive"))
      do_receive(atoi(a));
    else if (!strcmp(call, "fill"))
      do_fill(atoll(a));
    else if (!strcmp(call, "ending"))
      do_ending();
    else if (!strcmp(call, "shutdown"))
      done(shutdown(fd, SHUT_WR));
    else if (!strcmp(call, "close"))
      done(close(fd));
    else if (!strcmp(call, "reset"))
      done(do_reset());
    else
      puts("{\"error\":\"unknown call\"}");
  }
}
