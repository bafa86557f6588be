// One socket that dials one address after another, as Node's cannot, and prints each time what the server's first line
// and getpeername say. Usage: redial ADDRESS PORT…
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  for (int i = 1; i + 1 < argc; i += 2) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[i + 1]))};
    struct sockaddr nothing = {.sa_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    char line[1024] = "";
    inet_pton(AF_INET, argv[i], &address.sin_addr);
    connect(fd, &nothing, sizeof nothing);
    if (connect(fd, (struct sockaddr *)&address, length)) return fprintf(stderr, "connect: %s\n", strerror(errno)), 1;
    getpeername(fd, (struct sockaddr *)&address, &length);
    for (size_t at = 0; strchr(line, '\n') == NULL && at < sizeof line - 1; at++)
      if (recv(fd, line + at, 1, 0) != 1) return fprintf(stderr, "recv: %s\n", strerror(errno)), 1;
    line[strcspn(line, "\n")] = 0;
    printf("{\"peer\":\"%s:%d\",\"greeting\":%s}\n", inet_ntoa(address.sin_addr), ntohs(address.sin_port), line);
  }
}
