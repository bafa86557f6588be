// Moves pseudo-random bytes both ways over several connections at once, in random chunks, with random pauses in writing
// and in reading, each direction ended by a half-close of its own, and prints a hash of every direction.
// Usage: transfer ADDRESS PORT CONNECTIONS BYTES SEED; or transfer listen PORT CONNECTIONS BYTES SEED
// BYTES is the sum over all connections in each direction. It is shared out unevenly and the other way round for the
// two directions, so that most connections are half-closed for a good part of their lives. Prints a JSON line:
// [{"index":0,"sentBytes":…,"sentHash":"…","receivedBytes":…,"receivedHash":"…","end":"FIN"}, …]
#include "tool.h"

enum { max_connections = 64, block = 1 << 17 };

struct hash {
  uint64_t state, carry, bytes;
};
struct connection {
  int fd, index, write_done, read_done, error;
  uint64_t content, timing;       // generators
  uint64_t left;                  // bytes still to be generated
  size_t have, offset;            // of `out`
  double write_after, read_after; // paused until then
  struct hash sent, received;
  char out[block];
};

static struct connection *connections[max_connections];
static int count, is_client;
static uint64_t seed, total;

// splitmix64
static uint64_t next(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static void hash_word(struct hash *h, uint64_t word) {
  h->state = (h->state ^ word) * 0x100000001b3;
  h->state ^= h->state >> 29;
}

// Depends on every byte and its place, not on how the stream was cut.
static void hash_bytes(struct hash *h, const char *bytes, size_t length) {
  while (length > 0) {
    if ((h->bytes & 7) == 0 && length >= 8) {
      uint64_t word;
      memcpy(&word, bytes, 8);
      hash_word(h, word);
      bytes += 8, length -= 8, h->bytes += 8;
      continue;
    }
    h->carry |= (uint64_t)(unsigned char)*bytes << 8 * (h->bytes & 7);
    bytes++, length--;
    if ((++h->bytes & 7) == 0) hash_word(h, h->carry), h->carry = 0;
  }
}

static uint64_t hash_end(const struct hash *h) {
  return ((h->state ^ h->carry) + h->bytes) * 0x100000001b3;
}

static void begin(struct connection *c, int fd, int index) {
  uint64_t shares = (uint64_t)count * (count + 1) / 2;
  uint64_t share = is_client ? (uint64_t)index + 1 : (uint64_t)(count - index);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  c->fd = fd;
  c->index = index;
  c->content = seed * 1000003 + (uint64_t)index * 2 + (uint64_t)is_client;
  c->timing = ~c->content;
  c->left = total * share / shares;
}

// 1 byte to 128 KiB, small ones as likely as large ones.
static size_t random_size(struct connection *c) {
  return 1 + next(&c->timing) % ((size_t)1 << (next(&c->timing) % 18));
}

static double random_pause(struct connection *c, int one_in) {
  return next(&c->timing) % one_in ? 0 : seconds_now() + (double)(next(&c->timing) % 3000) / 1e6;
}

static void fill_block(struct connection *c) {
  c->offset = 0;
  c->have = c->left < block ? c->left : block;
  for (size_t i = 0; i < c->have; i += 8) {
    uint64_t word = next(&c->content);
    memcpy(c->out + i, &word, 8); // The block's size is a multiple of 8.
  }
  c->left -= c->have;
  hash_bytes(&c->sent, c->out, c->have);
}

static void write_some(struct connection *c) {
  for (int turn = 0; turn < 8 && c->write_after == 0; turn++) {
    if (c->offset == c->have) {
      if (c->left == 0) {
        shutdown(c->fd, SHUT_WR);
        c->write_done = 1;
        return;
      }
      fill_block(c);
    }
    size_t size = random_size(c);
    if (size > c->have - c->offset) size = c->have - c->offset;
    ssize_t n = send(c->fd, c->out + c->offset, size, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) c->error = errno, c->write_done = c->read_done = 1;
      return;
    }
    c->offset += n;
    c->write_after = random_pause(c, 256);
  }
}

static void read_some(struct connection *c) {
  static char in[block];
  for (int turn = 0; turn < 8 && c->read_after == 0; turn++) {
    ssize_t n = recv(c->fd, in, random_size(c), 0);
    if (n < 0) {
      if (errno != EAGAIN) c->error = errno, c->write_done = c->read_done = 1;
      return;
    }
    if (n == 0) {
      c->read_done = 1;
      return;
    }
    hash_bytes(&c->received, in, n);
    c->read_after = random_pause(c, 256);
  }
}

// Level-triggered poll: a handful of connections, and paused ones are simply not asked for.
static void run(void) {
  for (;;) {
    struct pollfd polled[max_connections];
    double now = seconds_now();
    int open = 0, paused = 0;
    for (int i = 0; i < count; i++) {
      struct connection *c = connections[i];
      if (c->write_after <= now) c->write_after = 0;
      if (c->read_after <= now) c->read_after = 0;
      paused |= c->write_after > 0 || c->read_after > 0;
      short events =
          (c->write_done || c->write_after > 0 ? 0 : POLLOUT) | (c->read_done || c->read_after > 0 ? 0 : POLLIN);
      int finished = c->write_done && c->read_done;
      open += !finished;
      polled[i] = (struct pollfd){.fd = finished || events == 0 ? -1 : c->fd, .events = events};
    }
    if (open == 0) return;
    if (poll(polled, count, paused ? 1 : 60000) == 0 && !paused) errno = ETIMEDOUT, die("nothing moved for 60 s");
    for (int i = 0; i < count; i++) {
      struct connection *c = connections[i];
      if (polled[i].fd < 0) continue;
      if (polled[i].revents & (POLLIN | POLLHUP | POLLERR) && !c->read_done && c->read_after == 0) read_some(c);
      if (polled[i].revents & (POLLOUT | POLLHUP | POLLERR) && !c->write_done && c->write_after == 0) write_some(c);
    }
  }
}

static void connect_all(const char *address, int port) {
  struct sockaddr_storage name;
  socklen_t length = parse_address(address, port, &name);
  for (int i = 0; i < count; i++) {
    int fd = socket(name.ss_family, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&name, length)) die("connect");
    char index = (char)i;
    if (send(fd, &index, 1, 0) != 1) die("send");
    begin(connections[i], fd, i);
  }
}

static void accept_all(int port) {
  int listener = listen_on("::", port);
  for (int i = 0; i < count; i++) {
    int fd = accept(listener, NULL, NULL);
    char index;
    // Which of them it is comes first: connections need not arrive in order.
    if (fd < 0 || recv(fd, &index, 1, MSG_WAITALL) != 1) die("accept");
    begin(connections[(int)index], fd, index);
  }
}

int main(int argc, char **argv) {
  if (argc != 6) return fprintf(stderr, "usage: transfer ADDRESS|listen PORT CONNECTIONS BYTES SEED\n"), 2;
  count = atoi(argv[3]);
  total = strtoull(argv[4], NULL, 10);
  seed = strtoull(argv[5], NULL, 10);
  if (count < 1 || count > max_connections) return fprintf(stderr, "connections: 1 to %d\n", max_connections), 2;
  is_client = strcmp(argv[1], "listen") != 0;
  for (int i = 0; i < count; i++)
    connections[i] = calloc(1, sizeof **connections);
  if (is_client)
    connect_all(argv[1], atoi(argv[2]));
  else
    accept_all(atoi(argv[2]));
  run();
  printf("[");
  for (int i = 0; i < count; i++) {
    struct connection *c = connections[i];
    printf("%s{\"index\":%d,\"sentBytes\":%llu,\"sentHash\":\"%016llx\",\"receivedBytes\":%llu,\"receivedHash\":\"%"
           "016llx\",\"end\":\"%s\"}",
           i ? "," : "", c->index, (unsigned long long)c->sent.bytes, (unsigned long long)hash_end(&c->sent),
           (unsigned long long)c->received.bytes, (unsigned long long)hash_end(&c->received),
           c->error ? strerrorname_np(c->error) : "FIN");
  }
  puts("]");
}
