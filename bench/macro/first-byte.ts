// `first-byte`: how long the client of a server-first protocol (SSH, SMTP, MySQL) waits for the greeting, from its connect
// on. A proxy that waits for the client's first bytes keeps it waiting until a time-out.

import type { Work } from "./tcp.ts";

export const firstByteWorks: readonly Work[] = [
  {
    // One at a time: what a lone client waits.
    load: { mode: "greeting", connections: 1 },
    target: "greeting",
    figures: [
      { name: "first_byte_us_p50", unit: "µs", of: ({ p50Ns }) => p50Ns / 1e3 },
      { name: "first_byte_us_p99", unit: "µs", of: ({ p99Ns }) => p99Ns / 1e3 },
    ],
  },
];
