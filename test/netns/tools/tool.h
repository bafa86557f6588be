// What the test programs share. Included by one .c file each.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline _Noreturn void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

// "1.2.3.4" gives AF_INET, anything with a colon AF_INET6, v4-mapped included.
static inline socklen_t parse_address(const char *text, int port, struct sockaddr_storage *out) {
  memset(out, 0, sizeof *out);
  if (strchr(text, ':') != NULL) {
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1) errno = EINVAL, die(text);
    return sizeof *in6;
  }
  struct sockaddr_in *in4 = (struct sockaddr_in *)out;
  in4->sin_family = AF_INET;
  in4->sin_port = htons(port);
  if (inet_pton(AF_INET, text, &in4->sin_addr) != 1) errno = EINVAL, die(text);
  return sizeof *in4;
}

// As the kernel says it: v4-mapped addresses keep their prefix.
static inline const char *format_address(const struct sockaddr_storage *address, char *out, size_t size) {
  char host[INET6_ADDRSTRLEN];
  if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
    snprintf(out, size, "[%s]:%d", host, ntohs(in6->sin6_port));
  } else {
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)address;
    inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host);
    snprintf(out, size, "%s:%d", host, ntohs(in4->sin_port));
  }
  return out;
}

// Serves both families.
static inline int listen_on(const char *address, int port) {
  struct sockaddr_storage name;
  socklen_t length = parse_address(address, port, &name);
  int fd = socket(name.ss_family, SOCK_STREAM, 0), on = 1, off = 0;
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (name.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(fd, (struct sockaddr *)&name, length) || listen(fd, 4096)) die("listen");
  return fd;
}

static inline double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static inline void raise_descriptor_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Whether a connected socket's packets leave the namespace: a loopback interface takes 64 KiB at a time, a device 1500.
static inline int leaves_namespace(int fd) {
  int bytes = 0;
  socklen_t length = sizeof bytes;
  if (getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &bytes, &length) != 0) die("TCP_MAXSEG");
  return bytes < 9000;
}
