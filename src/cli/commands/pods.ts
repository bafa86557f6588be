// culvert pods

import type { Command } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import type { PodReport } from "../../telemetry/reports.ts";
import { findSocket } from "../find-socket.ts";
import { type NodeOptions, show, table, withNodeOptions } from "../output.ts";

export function addPods(program: Command): void {
  withNodeOptions(program.command("pods"))
    .description("List the pods of this node, and why those that are not captured are not.")
    .addHelpText(
      "after",
      `
Examples:
  culvert pods
  culvert pods -o json | jq -r '.pods[] | select(.state == "refused") | .name'`,
    )
    .action(async (options: NodeOptions) => {
      const report = await readPage<{ pods: PodReport[] }>(findSocket(options.socket), "/pods");
      show(options.output, report, () => podsText(report.pods));
    });
}

function podsText(pods: readonly PodReport[]): string {
  if (pods.length === 0) return "no workload of this node has a netns in mesh.yaml";
  const rows = pods.map((it) => [
    it.name,
    it.state,
    it.addresses.join(","),
    whenDown(it.whenProxyDown),
    String(it.optOuts),
    it.because,
  ]);
  return table(["NAME", "STATE", "ADDRESSES", "PROXY-DOWN", "OPT-OUTS", "WHY"], rows);
}

function whenDown({ outbound, inbound }: PodReport["whenProxyDown"]): string {
  return outbound === inbound ? outbound : `${outbound} out, ${inbound} in`;
}
