// culvert log-level

import { Argument, type Command } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import { logLevels } from "../../telemetry/log-level.ts";
import type { LogLevelReport } from "../../telemetry/reports.ts";
import { findSocket } from "../find-socket.ts";
import { type NodeOptions, show, withNodeOptions } from "../output.ts";

export function addLogLevel(program: Command): void {
  withNodeOptions(program.command("log-level"))
    .description("Show the log level of the running node, or change it until the node ends or mesh.yaml changes it.")
    .addArgument(new Argument("[level]", "the new one; connections are logged at info and debug").choices(logLevels))
    .addHelpText(
      "after",
      `
Examples:
  culvert log-level
  culvert log-level debug`,
    )
    .action(async (level: string | undefined, options: NodeOptions) => {
      const socket = findSocket(options.socket);
      const report =
        level === undefined
          ? await readPage<LogLevelReport>(socket, "/log-level")
          : await readPage<LogLevelReport>(socket, `/log-level?level=${level}`, "PUT");
      show(options.output, report, () => report.level);
    });
}
