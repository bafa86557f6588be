// culvert uninstall

import type { Command } from "commander";
import { defaultPinsDirectory } from "../../app/defaults.ts";
import { exitCodes } from "../exit-codes.ts";
import { say } from "../output.ts";

export function addUninstall(program: Command): void {
  program
    .command("uninstall")
    .description("Remove every trace of Culverts that do not run: what a killed one left, or one with strict pods.")
    .option("-c, --config <file>", "the mesh file of the one node to uninstall; without it, every node found")
    .option("--pins <directory>", "where nodes have pinned their BPF objects", defaultPinsDirectory)
    .addHelpText(
      "after",
      `
Strict pods are no longer held to the mesh afterwards. A Culvert that runs is left alone, and told.
Exit codes: 0 nothing is left, 1 something is.

Examples:
  culvert uninstall
  culvert uninstall --config /etc/culvert/mesh.yaml`,
    )
    .action(async (options: { config?: string; pins: string }) => {
      const { uninstall } = await import("../../app/uninstall.ts");
      const isDone = await uninstall({
        configPath: options.config,
        directory: options.pins,
        say: (line) => say(`culvert: ${line}`),
      });
      if (!isDone) process.exitCode = exitCodes.failed.code;
    });
}
