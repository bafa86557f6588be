// culvert sysdump: one archive for a bug report. What goes in is listed here, one entry each, so that it can be judged
// what leaves the machine: names and addresses of the mesh, no file's content, no environment, no key.

import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { askAdmin } from "../../admin/admin-client.ts";
import { CulvertError } from "../../telemetry/errors.ts";
import { namedSocket, onlySocket } from "../find-socket.ts";
import { say } from "../output.ts";

/** Of the running node: entry and page. */
const pages = [
  ["status.json", "/status"],
  ["config.json", "/config"],
  ["pods.json", "/pods"],
  ["services.json", "/services?limit=1000"],
  ["connections.json", "/connections?limit=1000"],
  ["events.json", "/events?limit=1000"],
  ["metrics.txt", "/metrics"],
  ["ready.txt", "/ready"],
  ["live.txt", "/live"],
] as const;

export function addSysdump(program: Command, version: string): void {
  program
    .command("sysdump")
    .description("Write all that a bug report needs into one zip archive.")
    .option("-f, --file <path>", "the archive to write; default: culvert-sysdump-<time>.zip")
    .option("--socket <path>", "admin socket of the node; default: $CULVERT_SOCKET, or the only one in /run/culvert")
    .addHelpText(
      "after",
      `
Has what check, status, config, pods, services, connections, events and metrics show; names and addresses of the mesh are
in it, and no keys, file contents or environment variables. Without a running node it has what check finds.

Examples:
  culvert sysdump
  culvert sysdump --file /tmp/report.zip`,
    )
    .action(async (options: { file?: string; socket?: string }) => {
      const now = new Date();
      const file = options.file ?? `culvert-sysdump-${now.toISOString().replaceAll(/[:.]/g, "-")}.zip`;
      const socket = namedSocket(options.socket) ?? onlySocket();
      const entries = new Map(await machineEntries(version, socket, options.socket !== undefined));
      for (const [name, page] of pages) entries.set(name, await pageText(socket, page));
      const { zipSync } = await import("fflate");
      const bytes = Object.fromEntries(
        [...entries].map(([name, text]) => [`culvert-sysdump/${name}`, Buffer.from(text)]),
      );
      writeFileSync(file, zipSync(bytes, { mtime: now }), { mode: 0o600, flag: "wx" });
      say(`wrote ${file}: ${[...entries.keys()].join(", ")}`);
    });
}

async function machineEntries(
  version: string,
  socket: string | undefined,
  isNamed: boolean,
): Promise<[string, string][]> {
  const { check } = await import("../../app/check/check.ts");
  const { machineFacts } = await import("../../app/check/machine-facts.ts");
  const checked = await check({ version, configPath: undefined, socket, isNamed });
  return [
    ["check.json", JSON.stringify(checked, undefined, 2)],
    ["machine.json", JSON.stringify({ version, ...machineFacts() }, undefined, 2)],
  ];
}

/** A node that hangs or is not there is a finding too: said in the entry's place. */
async function pageText(socket: string | undefined, page: string): Promise<string> {
  if (socket === undefined) return "no Culvert runs\n";
  try {
    const { status, body } = await askAdmin(socket, page);
    return status === 200 ? body : `${status}: ${body}`;
  } catch (error) {
    if (error instanceof CulvertError) return `${error.message}\n`;
    throw error;
  }
}
