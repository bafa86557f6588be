// The two lowest layers of the layer-cost benchmark (layers.ts). Usage: relay bytes|reactor PORT TARGET_PORT
#include "bytes_relay.h"
#include "reactor_relay.h"

#include <cstring>

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: relay bytes|reactor PORT TARGET_PORT\n"), 2;
  int listener = relay::Listen(uint16_t(atoi(argv[2])));
  auto target = uint16_t(atoi(argv[3]));
  if (strcmp(argv[1], "bytes") == 0) relay::BytesRelay(listener, target).Run();
  relay::ReactorRelay(listener, target).Run();
}
