// The `culvert` command: arguments in, exit code out. Errors of the user are told in words, without a stack.

import { Command } from "commander";
import { runNode } from "../app/node.ts";
import { defaultPinsDirectory, uninstall } from "../app/uninstall.ts";

export function createProgram(version: string): Command {
  const program = new Command("culvert")
    .description("An eBPF-assisted, per-node service-mesh proxy.")
    .version(version)
    .showHelpAfterError("(add --help for what there is)");
  program
    .command("node")
    .description("Run this node's proxy: capture its pods' connections and carry them. SIGTERM drains it.")
    .requiredOption("-c, --config <file>", "the mesh file: node, workloads, services (README: mesh.yaml)")
    .addHelpText(
      "after",
      `
Needs root (or CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN), cgroup v2 and Linux 5.10 or newer.
Logs JSON lines to standard output: "ready" when every pod is captured, then one line per connection.
Metrics and readiness: curl --unix-socket /run/culvert/<node>.sock http://localhost/metrics (or /ready).
Exit codes: 0 drained, 1 could not start or failed.`,
    )
    .action((options: { config: string }) => runNode({ configPath: options.config, version }));
  program
    .command("uninstall")
    .description("Remove every trace of Culverts that do not run: what a killed one left, or one with strict pods.")
    .option("-c, --config <file>", "the mesh file of the one node to uninstall; without it, every node found")
    .option("--pins <directory>", "where nodes have pinned their BPF objects", defaultPinsDirectory)
    .addHelpText(
      "after",
      `
Strict pods are no longer held to the mesh afterwards. A Culvert that runs is left alone, and told.
Exit codes: 0 nothing is left, 1 something is.`,
    )
    .action(async (options: { config?: string; pins: string }) => {
      const say = (line: string) => void process.stdout.write(`culvert: ${line}\n`);
      const isDone = await uninstall({ configPath: options.config, directory: options.pins, say });
      if (!isDone) process.exitCode = 1;
    });
  return program;
}

/** What a user sees of an error that ended the command: its message says what to do. A stack only for defects of Culvert. */
export function explain(error: unknown): string {
  const isDefect = !(error instanceof Error) || error instanceof TypeError || error instanceof ReferenceError;
  if (isDefect) return `culvert: a defect, please report it: ${error instanceof Error ? error.stack : String(error)}`;
  return `culvert: ${error.message}`;
}
