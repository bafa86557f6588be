// The memory that TypeScript and native share: layout of ring records. src/runtime/layout.ts says the same; a test
// compares the two. All words are 32-bit; a handle is an index and a generation, each a word.
#pragma once

#include <cstdint>

namespace culvert {

inline constexpr int kBlockBytes = 16 * 1024;
inline constexpr int kRecordWords = 8;
inline constexpr int kEventRecords = 16 * 1024;
inline constexpr int kCommandRecords = 4 * 1024;
// The word after the command ring: how many words of it TypeScript has filled. Native reads it when a turn's call is
// over, so after the promises that the call resolved: what they command comes after what the turn commanded.
inline constexpr int kFilledWord = 32 * 1024;
inline constexpr int kMaxConnections = 128 * 1024;

// word 0: type | argument words follow. [c g] is the connection's handle in words 1 and 2.
enum class Event : int32_t {
  kAccepted = 1,       // [c g] listener id, flags; then local address (4 words), peer (4), original destination (4),
                       //       local port, peer port, original port, pod id: three records in all
  kConnected = 2,      // [c g] a Passage
  kData = 3,           // [c g] block, block generation, offset in the slab, bytes: TypeScript owns the block now
  kEnd = 4,            // [c g] the peer sent FIN; writing goes on
  kBlocked = 5,        // [c g] a write could not complete: stop the source
  kDrained = 6,        // [c g] everything written has been handed to the kernel: start the source
  kClosed = 7,         // [c g] errno (0: by command), 1 if it had been connected, TlsFailure, alert that was sent or
                       //       else received: the last event of every handle
  kTimer = 8,          // timer id
  kTlsEstablished = 9, // [c g] block, block generation, offset in the slab, bytes: the peer's certificate as DER
                       //       (0 bytes: it has none, and there is no block); index of the agreed protocol in the
                       //       context's list or -1. Nothing is read or written before kTlsAccept
};
inline constexpr int kAcceptedRecords = 3;
inline constexpr int32_t kAcceptedHasOriginal = 1;

enum class Command : int32_t {
  kWrite = 1,        // [c g] block, block generation, offset in the slab, bytes, 1 to give up the block
  kRelease = 2,      // block, block generation: TypeScript gives up the block
  kShutdown = 3,     // [c g] FIN after what is queued
  kClose = 4,        // [c g] linger ms (0: no limit), 1 to end with RST: close after what is queued, reset when that
                     //       takes longer
  kReset = 5,        // [c g] RST now
  kPause = 6,        // [c g] read no more
  kResume = 7,       // [c g]
  kConnect = 8,      // [c g] netns fd or -1, timeout ms, mark, flags; then destination address (4), source address (4),
                     //       destination port, source port, bypass map fd or -1: three records in all
  kSetTimer = 9,     // timer id, ms; replaces
  kClearTimer = 10,  // timer id
  kListen = 11,      // listening fd, listener id, original_destination map fd or -1
  kUnlisten = 12,    // listener id: accepts what waits in the queue, then stops watching
  kForgetNetns = 13, // netns fd: prepared sockets are closed
  kStartTls = 14,    // [c g] context id, 1 for the server's role, ms until kTlsAccept, protocols (bits of the context's
                     //       list, one of them must be agreed on; 0: none): before anything is read or written
  kTlsAccept = 15,   // [c g] the peer of an established session may use the connection
  kTlsRefuse = 16    // [c g] alert: it may not, or no longer; what is queued is dropped
};
inline constexpr int kConnectRecords = 3;
// Whether a connection that was asked for with a bypass map arrived as it was made.
enum class Passage : int32_t {
  kNotAsked = 0,
  kSeen = 1,
  kNotSeen = 2,
  kUnknown = 3, // its record is gone
};
inline constexpr int32_t kConnectTransparent = 1; // IP_TRANSPARENT, to bind a foreign source address

// Why TLS ended a connection. Numbers are never reused; src/telemetry/tls-errors.ts has a code for each.
enum class TlsFailure : int32_t {
  kNone = 0,
  kProtocol = 1,        // malformed or out of order
  kNotTls = 2,          // the first bytes are no TLS record
  kVersion = 3,         // the peer cannot speak TLS 1.3
  kNothingInCommon = 4, // no cipher suite, group or signature algorithm that both can
  kApplication = 5,     // ALPN: none of our protocols, or none at all
  kNoCertificate = 6,   //
  kUntrusted = 7,       // the chain does not lead to one of the roots
  kExpired = 8,         //
  kNotYetValid = 9,     //
  kWrongUsage = 10,     // the certificate's extended key usage is not that of its role
  kBadCertificate = 11, // malformed, or refused for another reason
  kTimeout = 12,        // not established in time
  kTruncated = 13,      // ended without close_notify
  kPeerAlert = 14,      // the peer broke off, its alert says why
  kNoContext = 15       // no TLS context of that id, or no memory for a session
};

// Doubles in the statistics row, one row per worker, written by native only.
enum Stat : int {
  kStatTurns,
  kStatRounds,
  kStatEvents,
  kStatCommands,
  kStatAccepted,
  kStatHandedOver,
  kStatOpenConnections,
  kStatBlocksInUse,
  kStatBlocksPeak,
  kStatBlocksLimit,
  kStatStaleHandles,
  kStatStarvedReads,
  kStatAcceptErrors,
  kStatMissingOriginals,
  kStatBytesRead,
  kStatBytesWritten,
  kStatTlsSessions,
  kStatTlsEstablished,
  kStatTlsFailures,
  kStatTlsPutOff,
  kStatCount
};

} // namespace culvert
