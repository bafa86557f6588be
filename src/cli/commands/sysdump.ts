// culvert sysdump: one archive for a bug report. What goes in is listed here, one entry each, so that it can be judged
// what leaves the machine: names and addresses of the mesh, no file's content, no environment, no key.

import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { askAdmin } from "../../admin/admin-client.ts";
import { CulvertError, culvertError } from "../../telemetry/errors.ts";
import { systemWords } from "../../telemetry/system-words.ts";
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
      const entries = new Map<string, string>([
        ["check.json", await collected(() => checkText(version, socket, options.socket !== undefined))],
        ["machine.json", await collected(() => machineText(version))],
      ]);
      for (const [name, page] of pages) entries.set(name, await collected(() => pageText(socket, page)));
      const { zipSync } = await import("fflate");
      const bytes = Object.fromEntries(
        [...entries].map(([name, text]) => [`culvert-sysdump/${name}`, Buffer.from(text)]),
      );
      writeArchive(file, zipSync(bytes, { mtime: now }));
      say(`wrote ${file}: ${[...entries.keys()].join(", ")}`);
    });
}

/** What cannot be collected is said in the entry's place: a node that hangs or is not there is worth knowing too. */
export async function collected(collect: () => Promise<string>): Promise<string> {
  try {
    return await collect();
  } catch (error) {
    return error instanceof CulvertError ? `${error.message}\n` : `could not be collected: ${systemWords(error)}\n`;
  }
}

async function checkText(version: string, socket: string | undefined, isNamed: boolean): Promise<string> {
  const { check } = await import("../../app/check/check.ts");
  return JSON.stringify(await check({ version, configPath: undefined, socket, isNamed }), undefined, 2);
}

async function machineText(version: string): Promise<string> {
  const { machineFacts } = await import("../../app/check/machine-facts.ts");
  return JSON.stringify({ version, ...machineFacts() }, undefined, 2);
}

async function pageText(socket: string | undefined, page: string): Promise<string> {
  if (socket === undefined) return "no Culvert runs, or several: then name one with --socket\n";
  const { status, body } = await askAdmin(socket, page);
  return status === 200 ? body : `answered with ${status}: ${body}`;
}

function writeArchive(file: string, bytes: Uint8Array): void {
  try {
    writeFileSync(file, bytes, { mode: 0o600, flag: "wx" });
  } catch (error) {
    throw culvertError("SYSDUMP_NOT_WRITTEN", { file, reason: systemWords(error) }, error);
  }
}
