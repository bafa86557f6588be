// The clock that heartbeats are written by is the kernel's own only outside of time namespaces.

import { existsSync, readFileSync } from "node:fs";
import type { Finding } from "../../telemetry/reports.ts";
import { fault, ok } from "./finding.ts";

export function clockFinding(): Finding {
  const path = "/proc/self/timens_offsets";
  const offsets = existsSync(path) ? readFileSync(path, "utf8") : ""; // Since Linux 5.6, where it is built in.
  const [, seconds, nanoseconds] = /^monotonic\s+(-?\d+)\s+(\d+)/m.exec(offsets) ?? [];
  if (Number(seconds ?? 0) === 0 && Number(nanoseconds ?? 0) === 0) {
    return ok("clock", "the monotonic clock is the kernel's");
  }
  return fault(
    "clock",
    `the monotonic clock is ${seconds} s off the kernel's: this is a time namespace, in which workers seem to hang or never do`,
    "run Culvert in the machine's own time namespace",
  );
}
