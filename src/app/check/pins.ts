// Whether a node could pin its BPF objects where its mesh file says.

import { pinsProblem } from "../../kernel/bpffs.ts";
import type { Finding } from "../../telemetry/reports.ts";
import { fault, ok } from "./finding.ts";

export function pinsFinding(path: string): Finding {
  const problem = pinsProblem(path);
  if (problem === undefined) return ok("pins", `BPF objects can be pinned in node.pins: ${path}`);
  return fault("pins", `node.pins: BPF objects cannot be pinned in ${path}: ${problem.what}`, problem.fix);
}
