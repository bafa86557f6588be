// Sends back what it receives, over any number of connections; a FIN for a FIN.
// Usage: echo PORT
#include "tool.h"

// Blocking writes: its clients read what they are sent, and wait for it before they send more.
static void send_all(int fd, const char *bytes, ssize_t length) {
  while (length > 0) {
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0) return;
    bytes += n;
    length -= n;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: echo PORT\n"), 2;
  raise_descriptor_limit();
  int listener = listen_on("::", atoi(argv[1])), poller = epoll_create1(0);
  fcntl(listener, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[256];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  static char bytes[65536];
  for (;;) {
    int count = epoll_wait(poller, ready, 256, -1);
    for (int i = 0; i < count; i++) {
      int fd = ready[i].data.fd;
      if (fd == listener) {
        int accepted;
        while ((accepted = accept(listener, NULL, NULL)) >= 0) {
          event = (struct epoll_event){.events = EPOLLIN, .data.fd = accepted};
          epoll_ctl(poller, EPOLL_CTL_ADD, accepted, &event);
        }
        continue;
      }
      ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
      if (n > 0)
        send_all(fd, bytes, n);
      else if (n == 0 || errno != EAGAIN)
        close(fd);
    }
  }
}
