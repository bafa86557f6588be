// Dials with a socket of a special kind and prints "connected" (to the proxy, which is in the same namespace),
// "connected directly", or what failed and the errno's name.
// Usage: dial-as tcp|mptcp|device ADDRESS PORT; "device" binds the socket to eth0.
#include "tool.h"

static int report(const char *what) {
  printf("%s: %s\n", what, strerrorname_np(errno));
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: dial-as tcp|mptcp|device ADDRESS PORT\n"), 2;
  struct sockaddr_storage target;
  socklen_t length = parse_address(argv[2], atoi(argv[3]), &target);
  int fd = socket(target.ss_family, SOCK_STREAM, strcmp(argv[1], "mptcp") == 0 ? IPPROTO_MPTCP : IPPROTO_TCP);
  if (fd < 0) return report("socket");
  if (strcmp(argv[1], "device") == 0 && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 4) != 0)
    return report("SO_BINDTODEVICE");
  if (connect(fd, (struct sockaddr *)&target, length) != 0) return report("connect");
  puts(leaves_namespace(fd) ? "connected directly" : "connected");
}
