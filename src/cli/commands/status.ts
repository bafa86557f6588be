// culvert status

import type { Command } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import type { StatusReport } from "../../telemetry/reports.ts";
import { exitCodes } from "../exit-codes.ts";
import { findSocket } from "../find-socket.ts";
import { formatBytes, formatDuration, type NodeOptions, pairs, show, withNodeOptions } from "../output.ts";

export function addStatus(program: Command): void {
  withNodeOptions(program.command("status"))
    .description("Show whether the node runs well, and how much it carries.")
    .addHelpText(
      "after",
      `
Exit codes: 0 ready and live, 8 not, 3 no Culvert runs.

Examples:
  culvert status
  culvert status -o json | jq .connections.open
  until culvert status >/dev/null; do sleep 1; done   # wait for a node`,
    )
    .action(async (options: NodeOptions) => {
      const status = await readPage<StatusReport>(findSocket(options.socket), "/status");
      show(options.output, status, () => statusText(status));
      if (!status.ready || !status.live) process.exitCode = exitCodes.notReady.code;
    });
}

function statusText(status: StatusReport): string {
  const { connections, descriptors, mesh, pods } = status;
  const { open, opened, bytes } = connections;
  const both = (of: { outbound: number; inbound: number }) => `${of.outbound} outbound, ${of.inbound} inbound`;
  const sum = (flow: "sent" | "received") => formatBytes(bytes.outbound[flow] + bytes.inbound[flow]);
  const stale = status.workers.filter(({ isStale }) => isStale).map(({ worker }) => worker);
  const missing = pods.notEnrolled > 0 ? `, ${pods.notEnrolled} not (culvert pods)` : "";
  return pairs([
    ["node", `${status.node} (process ${status.pid}, version ${status.version})`],
    ["state", stateOf(status)],
    ["up", formatDuration(Date.now() - Date.parse(status.startedAt))],
    ["mesh", `version ${mesh.version} of ${mesh.file}: ${mesh.workloads} workloads, ${mesh.services} services`],
    ["pods", `${pods.enrolled} enrolled${missing}`],
    ["workers", `${status.workers.length}${stale.length > 0 ? `, of which hang: ${stale.join(", ")}` : ""}`],
    ["connections", `open: ${both(open)}; ever: ${both(opened)}`],
    ["bytes", `${sum("sent")} sent, ${sum("received")} received`],
    ["descriptors", `${descriptors.open} of ${descriptors.limit}`],
    ["log level", status.logLevel],
    ...(status.note === "" ? [] : [["note", status.note] as const]),
  ]);
}

function stateOf({ ready, live, notReadyBecause, notLiveBecause }: StatusReport): string {
  if (!live) return `not live: ${notLiveBecause}`;
  return ready ? "ready" : `not ready: ${notReadyBecause}`;
}
