// culvert check

import type { Command } from "commander";
import type { CheckedPart } from "../../app/check/check.ts";
import type { Finding } from "../../telemetry/reports.ts";
import { exitCodes } from "../exit-codes.ts";
import { namedSocket, onlySocket } from "../find-socket.ts";
import { type NodeOptions, show, withNodeOptions } from "../output.ts";

const marks: Record<Finding["state"], string> = { ok: "√", warning: "‼", fault: "×" };

export function addCheck(program: Command, version: string): void {
  withNodeOptions(program.command("check"))
    .description("Find out what is wrong with this machine, a mesh file and the node that runs, and how to mend it.")
    .option("-c, --config <file>", "a mesh file; default: the one of the node that runs")
    .addHelpText(
      "after",
      `
√ is well, ‼ could be better, × does not work. Works before Culvert runs too: then only the machine is looked at.
That no node runs is ×, where --socket names it, and otherwise ‼.
Exit codes: 0 no ×, 1 at least one.

Examples:
  culvert check
  culvert check --config /etc/culvert/mesh.yaml     # before the first start
  culvert check -o json | jq '.parts[].findings[] | select(.state != "ok")'`,
    )
    .action(async (options: NodeOptions & { config?: string }) => {
      const { check } = await import("../../app/check/check.ts");
      const socket = namedSocket(options.socket) ?? (options.config === undefined ? onlySocket() : undefined);
      const parts = await check({
        version,
        configPath: options.config,
        socket,
        isNamed: options.socket !== undefined,
      });
      show(options.output, { parts }, () => parts.map(partText).join("\n\n"));
      if (parts.some(({ findings }) => findings.some(({ state }) => state === "fault"))) {
        process.exitCode = exitCodes.failed.code;
      }
    });
}

function partText({ part, findings }: CheckedPart): string {
  const lines = findings.flatMap(({ check, state, message, fix }) => [
    `${marks[state]} ${check}: ${message.replaceAll("\n", "\n    ")}`,
    ...(fix === "" ? [] : [`    → ${fix}`]),
  ]);
  return [part, ...lines].join("\n");
}
