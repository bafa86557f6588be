// Holds many connections open and idle. A number on standard input: hold that many (or as few); 0 closes all. A second
// number: dial so many at once. Each new one has sent a byte and got it back before the answer
// {"open":N,"failed":{"ECONNRESET":2}} is printed. Usage: hold PORT ADDRESS…: the addresses are dialled in turn.
#include "tool.h"

enum { batch = 64, most = 16384 };

static int fds[most], open_count;
static long failed[256]; // by errno

static void fail(int fd, int error) {
  failed[error & 255]++;
  if (fd >= 0) close(fd);
}

static int dial(const char *address, int port) {
  struct sockaddr_storage name;
  socklen_t length = parse_address(address, port, &name);
  struct timeval timeout = {.tv_sec = 10};
  char byte = 'x';
  int fd = socket(name.ss_family, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&name, length) == 0 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1) return fd;
  fail(fd, errno);
  return -1;
}

// A batch is under way at once: dialled and written to, before anything is read.
static void open_some(int count, int port, char **addresses, int address_count) {
  int fresh[batch];
  for (int i = 0; i < count; i++)
    fresh[i] = dial(addresses[(open_count + i) % address_count], port);
  for (int i = 0; i < count; i++) {
    char byte;
    if (fresh[i] < 0) continue;
    ssize_t n = recv(fresh[i], &byte, 1, 0);
    if (n == 1)
      fds[open_count++] = fresh[i];
    else
      fail(fresh[i], n == 0 ? ENODATA : errno);
  }
}

// FIN, and the other side's.
static void close_down_to(int wanted) {
  for (int i = wanted; i < open_count; i++)
    shutdown(fds[i], SHUT_WR);
  for (int i = wanted; i < open_count; i++) {
    char byte;
    ssize_t n = recv(fds[i], &byte, 1, 0);
    if (n == 0)
      close(fds[i]);
    else
      fail(fds[i], n > 0 ? EBADMSG : errno);
  }
  if (open_count > wanted) open_count = wanted;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: hold PORT ADDRESS...\n"), 2;
  raise_descriptor_limit();
  setvbuf(stdout, NULL, _IOLBF, 0);
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    int wanted = 0, at_once = batch;
    sscanf(line, "%d %d", &wanted, &at_once);
    if (wanted > most || at_once > batch) return fprintf(stderr, "at most %d, %d at once\n", most, batch), 2;
    int tries = wanted - open_count; // one that fails is not tried again
    close_down_to(wanted);
    for (; tries > 0; tries -= at_once)
      open_some(tries < at_once ? tries : at_once, atoi(argv[1]), argv + 2, argc - 2);
    printf("{\"open\":%d,\"failed\":{", open_count);
    const char *comma = "";
    for (int error = 0; error < 256; error++) {
      if (failed[error] == 0) continue;
      printf("%s\"%s\":%ld", comma, strerrorname_np(error), failed[error]);
      comma = ",";
    }
    puts("}}");
  }
}
