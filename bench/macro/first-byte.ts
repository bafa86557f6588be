// `first-byte`: how long a client waits for the server's first bytes, from its connect on. A proxy that waits for the client's
// first bytes keeps the client of a server-first protocol (SSH, SMTP, MySQL) waiting until a time-out. PostgreSQL's client speaks
// first, with bytes of no protocol that a proxy detects.

import { exim, mariadb, openssh, postgresql } from "../../test/netns/harness/server-first.ts";
import type { Applications } from "./place.ts";
import type { Work } from "./tcp.ts";

export const firstByteServers: Applications = {
  openssh: openssh(),
  exim: exim(),
  mariadb: mariadb(),
  postgresql: postgresql(),
};

/** PostgreSQL's SSLRequest: a length of 8 and a code. Without TLS the answer is one byte, "N". */
const sslRequest = "0000000804d2162f";

/** `greeting`: the load's own server, which costs nothing beside the way there. */
export const firstByteWorks: readonly Work[] = ["greeting", ...Object.keys(firstByteServers)].map((name) => {
  const suffix = name === "greeting" ? "" : `_${name}`;
  return {
    // One at a time: what a lone client waits.
    load: { mode: "greeting", connections: 1, question: name === "postgresql" ? sslRequest : undefined },
    target: name,
    figures: [
      { name: `first_byte_us_p50${suffix}`, unit: "µs", of: ({ p50Ns }) => p50Ns / 1e3 },
      { name: `first_byte_us_p99${suffix}`, unit: "µs", of: ({ p99Ns }) => p99Ns / 1e3 },
    ],
  } as const satisfies Work;
});
