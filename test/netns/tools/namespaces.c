// Makes network namespaces, each with lo up and an IPv4 and an IPv6 address, and holds them by descriptors, so that
// nothing but /proc/<pid>/fd/<N> leads there. They belong to a user namespace of this process, whose limit tells exactly
// when the last of them is gone, whoever pins it.
// Usage: namespaces COUNT; the n-th has 10.200.<n / 250>.<n % 250 + 1> and fd00:200::<n + 1>. Lines on standard input:
//   make       prints [N, …], the descriptors, which are the same ones each time
//   release    closes them; prints "released"
//   any        prints "none" when no namespace is left in the kernel, otherwise "some"
#include "tool.h"

#include <linux/ipv6.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

enum { max_count = 4096, first_fd = 100 };

// Where this process is while it is in none of those that it makes.
static int home;

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
  close(fd);
}

static void configure(int n) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), fd6 = socket(AF_INET6, SOCK_DGRAM, 0);
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING}, alias = {.ifr_name = "lo:1"};
  if (ioctl(fd, SIOCSIFFLAGS, &lo) != 0) die("lo up");
  struct sockaddr_in *address = (struct sockaddr_in *)&alias.ifr_addr;
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(0x0ac80001 + (n / 250 << 8) + n % 250);
  if (ioctl(fd, SIOCSIFADDR, &alias) != 0) die("add an IPv4 address");
  struct in6_ifreq six = {.ifr6_prefixlen = 128, .ifr6_ifindex = 1};
  inet_pton(AF_INET6, "fd00:200::", &six.ifr6_addr);
  six.ifr6_addr.s6_addr16[7] = htons(n + 1);
  if (ioctl(fd6, SIOCSIFADDR, &six) != 0) die("add an IPv6 address");
  close(fd);
  close(fd6);
}

static void make(int count) {
  for (int n = 0; n < count; n++) {
    if (unshare(CLONE_NEWNET) != 0) die("make a network namespace");
    configure(n);
    int own = open("/proc/thread-self/ns/net", O_RDONLY);
    if (own < 0 || dup2(own, first_fd + n) < 0) die("hold a network namespace");
    close(own);
    if (setns(home, CLONE_NEWNET) != 0) die("go home");
    printf("%s%d", n == 0 ? "[" : ", ", first_fd + n);
  }
  puts("]");
}

static void set_limit(int count) {
  char text[16];
  snprintf(text, sizeof(text), "%d", count);
  write_file("/proc/sys/user/max_net_namespaces", text);
}

// With a limit of two, one can be made only if there is none but the home.
static bool is_any_left(int count) {
  set_limit(2);
  pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWNET) == 0 ? 0 : 1);
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child) die("ask for what is left");
  set_limit(count + 1);
  return status != 0;
}

int main(int argc, char **argv) {
  int count = argc == 2 ? atoi(argv[1]) : 0;
  if (count < 1 || count > max_count) return fprintf(stderr, "usage: namespaces COUNT, at most %d\n", max_count), 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  uid_t user = geteuid();
  gid_t group = getegid();
  if (unshare(CLONE_NEWUSER) != 0) die("make a user namespace");
  char map[64];
  snprintf(map, sizeof(map), "0 %u 1", user);
  write_file("/proc/self/uid_map", map);
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof(map), "0 %u 1", group);
  write_file("/proc/self/gid_map", map);
  set_limit(count + 1);
  if (unshare(CLONE_NEWNET) != 0) die("make a network namespace");
  home = open("/proc/thread-self/ns/net", O_RDONLY);
  char line[64];
  while (fgets(line, sizeof(line), stdin) != NULL) {
    if (strcmp(line, "make\n") == 0) {
      make(count);
    } else if (strcmp(line, "release\n") == 0) {
      for (int n = 0; n < count; n++)
        close(first_fd + n);
      puts("released");
    } else if (strcmp(line, "any\n") == 0) {
      puts(is_any_left(count) ? "some" : "none");
    }
  }
}
