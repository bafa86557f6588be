// culvert why

import type { Command } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import type { Outcome, RouteState, WhyConnection, WhyReport } from "../../telemetry/reports.ts";
import { exitCodes } from "../exit-codes.ts";
import { findSocket } from "../find-socket.ts";
import { type NodeOptions, show, withNodeOptions } from "../output.ts";
import { endpointTable } from "./services.ts";

const codeOf: Record<Outcome, number> = {
  captured: exitCodes.ok.code,
  passed: exitCodes.passes.code,
  denied: exitCodes.fails.code,
  refused: exitCodes.fails.code,
};

const words: Record<Outcome, string> = {
  captured: "the proxy carries it",
  passed: "it passes the proxy by",
  denied: "it fails: denied (EPERM, or a reset)",
  refused: "it fails: refused (ECONNREFUSED)",
};

export function addWhy(program: Command): void {
  withNodeOptions(program.command("why"))
    .description("Say what would become of a connection that a workload of this node opens, and why.")
    .argument("<workload>", "that connects: name or namespace/name")
    .argument(
      "<destination>",
      "an address or a service (or a workload), and a port: 10.96.0.10:80, [fd00:96::10]:80, web:80",
    )
    .addHelpText(
      "after",
      `
Nothing is dialled: the maps of the BPF programs are read, and the workers asked to decide.
A name is looked up in the workload's own namespace; each of its addresses is answered for.
Exit codes: 0 the proxy carries it, 6 it passes the proxy by, 7 it fails, 5 no such workload or service; of several
addresses the highest.

Examples:
  culvert why web-1 redis:6379
  culvert why shop/web-1 10.0.0.1:5432
  culvert why web-1 api:80 -o json | jq -r '.connections[].connect.reason'`,
    )
    .action(async (workload: string, destination: string, options: NodeOptions) => {
      const query = new URLSearchParams({ workload, to: destination });
      const report = await readPage<WhyReport>(findSocket(options.socket), `/why?${query}`);
      show(options.output, report, () => report.connections.map((it) => connectionText(report, it)).join("\n\n"));
      process.exitCode = Math.max(...report.connections.map(({ outcome }) => codeOf[outcome]));
    });
}

function connectionText({ workload, enrolled }: WhyReport, it: WhyConnection): string {
  const lines = [
    `${workload}${enrolled ? "" : " (not enrolled)"} → ${it.destination}: ${words[it.outcome]}`,
    `  destination  ${it.what}`,
    `  connect      ${it.connect.outcome}: ${it.connect.meaning} (${it.connect.reason})`,
  ];
  if (it.route !== undefined) lines.push(`  proxy        ${routeText(it.route)}`);
  if (it.arrival !== undefined) {
    lines.push(
      `  arrival      at pod ${it.arrival.pod}, ${it.arrival.outcome}: ${it.arrival.meaning} (${it.arrival.reason})`,
    );
  }
  const endpoints = it.route?.endpoints ?? [];
  if (endpoints.length > 0) lines.push(endpointTable(endpoints).replace(/^/gm, "  "));
  return lines.join("\n");
}

const balancingText = {
  any: "of two eligible endpoints drawn at random, the one with fewer open connections",
  nearest:
    "of two eligible endpoints drawn among the nearest, the one with fewer open connections; farther ones when these are crowded",
  affinity: "the endpoint that the client's address leads to (affinity)",
};

function routeText({ to, name, transport, balancing = "any", endpoints }: RouteState): string {
  if (to === "unknown") return "to where it was dialled: no service or workload is known there";
  if (to === "workload") return `to workload ${name} as dialled, transport ${transport}`;
  if (endpoints.length === 0) return `service ${name}: no endpoints, it is refused`;
  return `service ${name}: ${balancingText[balancing]}`;
}
