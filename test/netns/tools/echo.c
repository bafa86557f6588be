// Sends back what it receives, over any number of connections; a FIN for a FIN. A line on standard input is answered
// with {"accepted":N,"direct":N}: "direct" are those from beyond this namespace, which one of a proxy in it is not.
// MARK: SO_MARK of the listener, and so of what it answers.
// Usage: echo PORT [MARK]
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
  if (argc != 2 && argc != 3) return fprintf(stderr, "usage: echo PORT [MARK]\n"), 2;
  raise_descriptor_limit();
  int listener = listen_on("::", atoi(argv[1])), poller = epoll_create1(0);
  unsigned mark = argc == 3 ? atoi(argv[2]) : 0;
  if (mark != 0 && setsockopt(listener, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) die("SO_MARK");
  fcntl(listener, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[256];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  event.data.fd = 0;
  epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event); // Fails where that is /dev/null.
  long accepted_count = 0, direct_count = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  static char bytes[65536];
  for (;;) {
    int count = epoll_wait(poller, ready, 256, -1);
    for (int i = 0; i < count; i++) {
      int fd = ready[i].data.fd;
      if (fd == listener) {
        int accepted;
        while ((accepted = accept(listener, NULL, NULL)) >= 0) {
          accepted_count++;
          direct_count += leaves_namespace(accepted);
          event = (struct epoll_event){.events = EPOLLIN, .data.fd = accepted};
          epoll_ctl(poller, EPOLL_CTL_ADD, accepted, &event);
        }
        continue;
      }
      if (fd == 0) {
        if (read(0, bytes, sizeof bytes) <= 0) epoll_ctl(poller, EPOLL_CTL_DEL, 0, NULL);
        else printf("{\"accepted\":%ld,\"direct\":%ld}\n", accepted_count, direct_count);
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
