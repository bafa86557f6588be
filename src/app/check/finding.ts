// The three kinds of finding.

import type { Finding } from "../../telemetry/reports.ts";

/** √ */
export function ok(check: string, message: string): Finding {
  return { check, state: "ok", message, fix: "" };
}

/** ‼ It works, and not as well as it could, or not for ever. */
export function warning(check: string, message: string, fix: string): Finding {
  return { check, state: "warning", message, fix };
}

/** × */
export function fault(check: string, message: string, fix: string): Finding {
  return { check, state: "fault", message, fix };
}
