// culvert connections

import { type Command, InvalidArgumentError, Option } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import type { ConnectionsReport } from "../../telemetry/reports.ts";
import { findSocket } from "../find-socket.ts";
import { formatBytes, formatDuration, type NodeOptions, show, table, withNodeOptions } from "../output.ts";

interface Options extends NodeOptions {
  readonly direction?: string;
  readonly pod?: string;
  readonly service?: string;
  readonly address?: string;
  readonly limit: number;
}

export function addConnections(program: Command): void {
  withNodeOptions(program.command("connections"))
    .description("List the connections that the node carries now, the oldest first.")
    .addOption(new Option("--direction <direction>", "of one direction").choices(["outbound", "inbound"]))
    .option("--pod <name>", "of one captured pod: name or namespace/name")
    .option("--service <name>", "to one service: name or namespace/name, with or without :port")
    .option("--address <text>", "whose source, destination or endpoint has this in it, such as 10.244.0.2 or :6379")
    .option("--limit <count>", "show at most so many (1 to 10000)", count, 100)
    .addHelpText(
      "after",
      `
Examples:
  culvert connections --pod web-1
  culvert connections --service redis --limit 1000 -o json
  watch culvert connections --direction inbound`,
    )
    .action(async (options: Options) => {
      const query = new URLSearchParams({ limit: String(options.limit) });
      for (const name of ["direction", "pod", "service", "address"] as const) {
        const value = options[name];
        if (value !== undefined) query.set(name, value);
      }
      const report = await readPage<ConnectionsReport>(findSocket(options.socket), `/connections?${query}`);
      show(options.output, report, () => connectionsText(report));
    });
}

function connectionsText({ connections, matching, silentWorkers }: ConnectionsReport): string {
  const notes = [
    ...(matching > connections.length ? [`${matching - connections.length} more agree; --limit shows more`] : []),
    ...silentWorkers.map((worker) => `worker ${worker} does not answer: its connections are missing here`),
  ];
  const header = [
    "DIRECTION",
    "POD",
    "SOURCE",
    "DESTINATION",
    "SERVICE",
    "ENDPOINT",
    "TRANSPORT",
    "PROTOCOL",
    "STATE",
    "AGE",
    "SENT",
    "RECEIVED",
  ];
  const rows = connections.map((it) => [
    it.direction,
    it.pod,
    it.source,
    it.destination,
    it.service ?? "-",
    it.endpoint ?? "-",
    it.transport,
    it.protocol,
    it.state,
    formatDuration(it.durationMs),
    formatBytes(it.bytesSent),
    formatBytes(it.bytesReceived),
  ]);
  const shown = rows.length === 0 ? "no connections" : table(header, rows);
  return [shown, ...notes].join("\n");
}

export function count(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("Write a whole number from 1.");
  return number;
}
