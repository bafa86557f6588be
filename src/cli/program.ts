// The `culvert` command: arguments in, exit code out (exit-codes.ts). Errors of the user are told in words, without a
// stack. What only one command needs is loaded by that command: `culvert status` must not wait for the addon.

import { Command } from "commander";
import { addCheck } from "./commands/check.ts";
import { addConfig } from "./commands/config.ts";
import { addConnections } from "./commands/connections.ts";
import { addEvents } from "./commands/events.ts";
import { addLogLevel } from "./commands/log-level.ts";
import { addNode } from "./commands/node.ts";
import { addPods } from "./commands/pods.ts";
import { addServices } from "./commands/services.ts";
import { addStatus } from "./commands/status.ts";
import { addSysdump } from "./commands/sysdump.ts";
import { addUninstall } from "./commands/uninstall.ts";
import { addVersion } from "./commands/version.ts";
import { addWhy } from "./commands/why.ts";
import { addCompletion } from "./completion.ts";

export function createProgram(version: string): Command {
  const program = new Command("culvert")
    .description("An eBPF-assisted, per-node service-mesh proxy.")
    .version(version)
    .showHelpAfterError("(add --help for what there is)")
    .exitOverride() // Inherited by the commands: what is thrown becomes the exit code in main.ts.
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 failed, 2 wrong command line, 3 no Culvert runs, 4 not allowed; the commands say theirs.",
    );
  program.commandsGroup("Run:");
  addNode(program, version);
  addUninstall(program);
  program.commandsGroup("Ask:");
  addCheck(program, version);
  addStatus(program);
  addConnections(program);
  addPods(program);
  addServices(program);
  addWhy(program);
  addEvents(program);
  program.commandsGroup("Tools:");
  addConfig(program);
  addLogLevel(program);
  addSysdump(program, version);
  addVersion(program, version);
  addCompletion(program);
  return program;
}

/** What a user sees of an error that ended the command: its message says what to do. A stack only for defects of Culvert. */
export function explain(error: unknown): string {
  const isDefect = !(error instanceof Error) || error instanceof TypeError || error instanceof ReferenceError;
  if (isDefect) return `culvert: a defect, please report it: ${error instanceof Error ? error.stack : String(error)}`;
  return `culvert: ${error.message}`;
}
