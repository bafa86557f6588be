// culvert version

import { release } from "node:os";
import type { Command } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import { CulvertError } from "../../telemetry/errors.ts";
import type { StatusReport } from "../../telemetry/reports.ts";
import { findSocket } from "../find-socket.ts";
import { type NodeOptions, pairs, show, withNodeOptions } from "../output.ts";

export function addVersion(program: Command, version: string): void {
  withNodeOptions(program.command("version"))
    .description("Show the version of this command and of the node that runs, if one does.")
    .addHelpText(
      "after",
      `
Exit code 0, whether a node runs or not.

Examples:
  culvert version
  culvert version -o json`,
    )
    .action(async (options: NodeOptions) => {
      const running = await runningVersion(options.socket);
      const report = { command: version, running: running ?? null, node: process.version, kernel: release() };
      show(options.output, report, () =>
        pairs([
          ["command", version],
          ["running", running ?? "none"],
          ["Node.js", process.version],
          ["kernel", release()],
        ]),
      );
    });
}

async function runningVersion(socket: string | undefined): Promise<string | undefined> {
  try {
    return (await readPage<StatusReport>(findSocket(socket), "/status")).version;
  } catch (error) {
    if (error instanceof CulvertError) return undefined;
    throw error;
  }
}
