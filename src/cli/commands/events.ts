// culvert events

import type { Command } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import type { EventsReport } from "../../telemetry/reports.ts";
import { findSocket } from "../find-socket.ts";
import { type NodeOptions, show, table, withNodeOptions } from "../output.ts";
import { count } from "./connections.ts";

export function addEvents(program: Command): void {
  withNodeOptions(program.command("events"))
    .description("Show what happened on the node lately, the latest last: pods, configuration, workers, limits.")
    .option("--limit <count>", "show at most so many (1 to 1000)", count, 100)
    .addHelpText(
      "after",
      `
The node remembers its latest 1,000, whatever its log level is. Connections are in its access log.

Examples:
  culvert events
  culvert events -o json | jq '.events[] | select(.level == "error")'`,
    )
    .action(async (options: NodeOptions & { limit: number }) => {
      const report = await readPage<EventsReport>(findSocket(options.socket), `/events?limit=${options.limit}`);
      show(options.output, report, () => eventsText(report));
    });
}

function eventsText({ events }: EventsReport): string {
  if (events.length === 0) return "no events";
  const rows = events.map(({ time, level, event, details }) => [time, level, event, detailsText(details)]);
  return table(["TIME", "LEVEL", "EVENT", "DETAILS"], rows);
}

function detailsText(details: Readonly<Record<string, unknown>>): string {
  return Object.entries(details)
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join(" ");
}

/** Of an error its message; its stack is in the JSON. */
function valueText(value: unknown): string {
  if (typeof value === "object" && value !== null && "message" in value)
    return String(value.message).split("\n", 1)[0]!;
  return typeof value === "string" ? value : JSON.stringify(value);
}
