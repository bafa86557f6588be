// Prints the ids of all BPF links, maps and programs that exist on this machine, one JSON line:
// {"links":[1,2],"maps":[…],"programs":[…]}
#include "tool.h"

#include <linux/bpf.h>
#include <sys/syscall.h>

static void print_ids(const char *name, int command) {
  union bpf_attr attr = {0};
  const char *separator = "";
  printf("\"%s\":[", name);
  while (syscall(SYS_bpf, command, &attr, sizeof attr) == 0) {
    printf("%s%u", separator, attr.next_id);
    separator = ",";
    attr.start_id = attr.next_id;
  }
  if (errno != ENOENT) die(name);
  printf("]");
}

int main(void) {
  printf("{");
  print_ids("links", BPF_LINK_GET_NEXT_ID);
  printf(",");
  print_ids("maps", BPF_MAP_GET_NEXT_ID);
  printf(",");
  print_ids("programs", BPF_PROG_GET_NEXT_ID);
  puts("}");
}
