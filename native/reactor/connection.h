// What the reactor knows of one socket. Its life, seen from TypeScript:
//
//   accepted ──────────────┐
//                          ├─> open ──(data | end | blocked | drained)*──> closed: the handle is dead
//   reserved ─> connecting ┘
//
// The slot is used again only after the script has handled `closed`, under a new generation.
#pragma once

#include <cstdint>

namespace culvert {

struct Slice {
  int32_t block;
  int32_t offset; // bytes from the start of the slab
  int32_t length;
  int32_t next;
};

enum ConnectionFlag : uint32_t {
  kReserved = 1 << 0,        // TypeScript holds the handle, no command has used it yet
  kConnecting = 1 << 1,      // waits for a socket of its namespace, or for the handshake
  kConnectedOnce = 1 << 2,   //
  kReadable = 1 << 3,        // epoll said so and no read has found the end of it yet
  kBlockedWrite = 1 << 4,    // the kernel took less than was offered: wait for EPOLLOUT
  kPaused = 1 << 5,          // TypeScript wants no data
  kInReady = 1 << 6,         // is in the list of connections to read
  kDirty = 1 << 7,           // is in the list of connections to flush
  kFinRequested = 1 << 8,    //
  kFinSent = 1 << 9,         //
  kCloseRequested = 1 << 10, //
  kEndSeen = 1 << 11,        // `end` was reported: nothing more to read
  kToldBlocked = 1 << 12,    // `blocked` was reported, `drained` is due
  kHungUp = 1 << 13,         // epoll has reported FIN or an error: reading goes on until it is found
  kTls = 1 << 14,            // there is a TLS session between socket and blocks
  kTlsPending = 1 << 15,     // its handshake is not over, or TypeScript has not accepted the peer yet
  kInHandshakes = 1 << 16,   // is in the list of handshakes that can go on
  kResetRequested = 1 << 17, // closing ends with RST
  kFailed = 1 << 18,         // epoll has reported an error: reading may not tell it
};

struct Connection {
  static constexpr int32_t kNone = -1;

  int fd = -1;
  uint32_t generation = 0;
  uint32_t flags = 0;
  int32_t queue_head = kNone;
  int32_t queue_tail = kNone;
  uint8_t read_blocks = 1;  // how many blocks the next read may fill; adapts
  int write_error = 0;      // writing failed: what is left to read is still delivered, then this is reported
  uint64_t timer_stamp = 0; // the setting of Timers that counts for it

  bool Has(uint32_t flag) const { return (flags & flag) != 0; }
  void Set(uint32_t flag) { flags |= flag; }
  void Clear(uint32_t flag) { flags &= ~flag; }
};

} // namespace culvert
