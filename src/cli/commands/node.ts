// culvert node

import type { Command } from "commander";

export function addNode(program: Command, version: string): void {
  program
    .command("node")
    .description("Run this node's proxy: capture its pods' connections and carry them. SIGTERM drains it.")
    .requiredOption("-c, --config <file>", "the mesh file: node, workloads, services (README: mesh.yaml)")
    .addHelpText(
      "after",
      `
Needs root (or CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN), cgroup v2 and Linux 5.10 or newer: culvert check tells.
Logs JSON lines to standard output: "ready" when every pod is captured, then one line per connection.
Metrics and health: curl --unix-socket /run/culvert/<node>.sock http://localhost/metrics (or /ready, /live).
Exit codes: 0 drained, 1 could not start or failed.

Examples:
  culvert config validate /etc/culvert/mesh.yaml && culvert node --config /etc/culvert/mesh.yaml`,
    )
    .action(async (options: { config: string }) => {
      const { runNode } = await import("../../app/node.ts");
      await runNode({ configPath: options.config, version });
    });
}
