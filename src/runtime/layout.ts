// The memory that TypeScript and native share: native/reactor/layout.h explains each record; a test compares the two.

export const blockBytes = 16 * 1024;
export const recordWords = 8;
export const eventRecords = 16 * 1024;
export const commandRecords = 4 * 1024;
/** Of the command ring: where the count of words lies that are filled. */
export const filledWord = 32 * 1024;
export const maxConnections = 128 * 1024;

export const event = {
  accepted: 1,
  connected: 2,
  data: 3,
  end: 4,
  blocked: 5,
  drained: 6,
  closed: 7,
  timer: 8,
  tlsEstablished: 9,
} as const;
export const acceptedRecords = 3;
export const acceptedHasOriginal = 1;

export const command = {
  write: 1,
  release: 2,
  shutdown: 3,
  close: 4,
  reset: 5,
  pause: 6,
  resume: 7,
  connect: 8,
  setTimer: 9,
  clearTimer: 10,
  listen: 11,
  unlisten: 12,
  forgetNetns: 13,
  startTls: 14,
  tlsAccept: 15,
  tlsRefuse: 16,
} as const;
export const connectRecords = 3;
export const connectTransparent = 1;
/** Whether a connection arrived under the tuple with which it was made. */
export const passage = { notAsked: 0, seen: 1, notSeen: 2, unknown: 3 } as const;
export type Passage = (typeof passage)[keyof typeof passage];

/** SO_MARK of sockets that are bound to a client's address: native/netns/source_routing.h. */
export const sourceMark = 0x6d58;

/** Why TLS ended a connection; 0: it did not. */
export const tlsFailure = {
  none: 0,
  protocol: 1,
  notTls: 2,
  version: 3,
  nothingInCommon: 4,
  application: 5,
  noCertificate: 6,
  untrusted: 7,
  expired: 8,
  notYetValid: 9,
  wrongUsage: 10,
  badCertificate: 11,
  timeout: 12,
  truncated: 13,
  peerAlert: 14,
  noContext: 15,
} as const;

/** Doubles in a worker's row of native statistics; telemetry/worker-stats.ts names them. */
export const statCount = 20;
