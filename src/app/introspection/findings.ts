// What a running node finds out about itself for `culvert check`: all that only the process can see.

import type { CaptureFaults } from "../../kernel/capture.ts";
import { countReasons, type Reason } from "../../kernel/reasons.ts";
import type { Finding } from "../../telemetry/reports.ts";
import { clockFinding } from "../check/clock.ts";
import { fault, ok, warning } from "../check/finding.ts";
import { countDescriptors, type Descriptors } from "./descriptors.ts";
import { statOf, workerReports } from "./health.ts";
import type { NodeView } from "./node-view.ts";

const restart = "restart culvert node";

export function nodeFindings(view: NodeView): Finding[] {
  const { ok: isReady, reason, note } = view.readiness();
  return [
    isReady
      ? ok("ready", "the node is ready")
      : fault("ready", `the node is not ready: ${reason}`, "wait, or see culvert events"),
    ...(note === undefined
      ? []
      : [warning("config", note, `correct ${view.configPath}; culvert config validate tells`)]),
    ...workerFindings(view),
    ...podFindings(view),
    ...captureFindings(view.capture.faults()),
    clockFinding(),
    descriptorFinding(countDescriptors()),
    blockFinding(view),
    ...reasonFindings(countReasons(view.capture.maps)),
  ];
}

function workerFindings(view: NodeView): Finding[] {
  const workers = workerReports(view.capture, view.stats);
  const stale = workers.filter(({ isStale }) => isStale);
  if (stale.length === 0) return [ok("heartbeats", `all ${workers.length} workers run`)];
  return stale.map(({ worker, heartbeatAgeMs }) => {
    const since = heartbeatAgeMs === null ? "ever" : `for ${Math.round(heartbeatAgeMs / 1000)} s`;
    return fault("heartbeats", `worker ${worker} has not run ${since}: it gets no new connections`, restart);
  });
}

function podFindings(view: NodeView): Finding[] {
  const findings = view.localPods().flatMap(({ name, netnsPath }) => {
    const pod = view.pods.enrolled(name);
    const refused = view.pods.failures.get(name);
    const why = pod?.sourceProblem;
    if (why !== undefined) {
      const what = `applications of pod ${name} see its own address instead of their clients': ${why}`;
      return warning("pods", what, "mend that, then start the pod again");
    }
    if (pod !== undefined) return [];
    if (refused !== undefined) {
      return fault("pods", `pod ${name} is not enrolled: ${refused}`, "correct its netns in mesh.yaml, or the pod");
    }
    const what = `pod ${name} is not there yet: its netns ${netnsPath} does not exist`;
    return warning("pods", what, "start the pod, which is enrolled then, or correct its netns in mesh.yaml");
  });
  return findings.length > 0 ? findings : [ok("pods", `all ${view.pods.count} pods are enrolled`)];
}

function captureFindings({ defunctHooks, defunctPods, deafPods }: CaptureFaults): Finding[] {
  const findings = [
    ...defunctHooks.map((name) =>
      fault("programs", `${name} is attached to a cgroup that is gone: nothing passes it any more`, restart),
    ),
    ...defunctPods.map((name) =>
      fault("programs", `the network namespace of pod ${name} is gone`, `start the pod, then ${restart}`),
    ),
  ];
  const listeners = deafPods.map((name) =>
    fault("listeners", `pod ${name} has no listener of the proxy: its connections pass or, if strict, fail`, restart),
  );
  return [
    ...(findings.length > 0 ? findings : [ok("programs", "every BPF program is attached")]),
    ...(listeners.length > 0 ? listeners : [ok("listeners", "the proxy listens in every enrolled pod")]),
  ];
}

function descriptorFinding({ open, limit }: Descriptors): Finding {
  const said = `${open} of ${limit} descriptors are open`;
  const fix = "raise the limit: LimitNOFILE= of its service, or ulimit -Hn before it starts";
  return open > limit * 0.8 ? warning("descriptors", said, fix) : ok("descriptors", said);
}

function blockFinding({ stats }: NodeView): Finding {
  const starved = stats.reduce((sum, row) => sum + statOf(row, "StarvedReads"), 0);
  if (starved === 0) return ok("buffers", "no read ever waited for a free block");
  return warning(
    "buffers",
    `${starved} reads waited for a free block`,
    "run more node.workers, or look for slow readers",
  );
}

/** What the hooks have met that should not be. */
const unwanted: Partial<Record<Reason, readonly [what: string, fix: string]>> = {
  pass_bind_failed: [
    "passed because the pod's address is not configured in its namespace",
    "correct the workload's addresses in mesh.yaml",
  ],
  pass_no_source: [
    "passed because the pod has no address of the destination's family",
    "add the pod's address of that family to mesh.yaml",
  ],
  deny_not_capturable: [
    "failed because a strict pod's socket could not be captured",
    "see that the pod has an address of the destination's family in mesh.yaml and binds to no device",
  ],
  pass_no_memory: ["passed for lack of kernel memory", "give the machine more memory"],
  record_lost: ["lost the record of what was dialled, and were reset", "report it: a BPF map is full"],
  deny_bind: ["tried to bind a port of the mesh's own", "move that program off ports 15001, 15006 and 15008"],
};

function reasonFindings(counts: Readonly<Record<string, number>>): Finding[] {
  return Object.entries(unwanted).flatMap(([reason, [what, fix]]) => {
    const count = counts[reason] ?? 0;
    return count === 0 ? [] : warning("capture", `${count} connections ${what} (${reason})`, fix);
  });
}
