// culvert services

import type { Command } from "commander";
import { readPage } from "../../admin/admin-client.ts";
import type { EndpointState, ServiceReport, ServicesReport } from "../../telemetry/reports.ts";
import { exitCodes } from "../exit-codes.ts";
import { findSocket } from "../find-socket.ts";
import { type NodeOptions, say, show, table, withNodeOptions } from "../output.ts";
import { count } from "./connections.ts";

export function addServices(program: Command): void {
  withNodeOptions(program.command("services"))
    .description("List services, or the endpoints of one with their state as this node's workers see it.")
    .argument("[name]", "of a service: name or namespace/name")
    .option("--limit <count>", "show at most so many (1 to 1000)", count, 100)
    .addHelpText(
      "after",
      `
ENDPOINTS is how many of all may get a new connection.
Exit codes: 0, 5 no such service.

Examples:
  culvert services
  culvert services redis
  culvert services shop/web -o json | jq '.services[].ports[].endpoints[] | select(.isEligible | not)'`,
    )
    .action(async (name: string | undefined, options: NodeOptions & { limit: number }) => {
      const query = new URLSearchParams({ limit: String(options.limit), ...(name !== undefined && { name }) });
      const report = await readPage<ServicesReport>(findSocket(options.socket), `/services?${query}`);
      if (name !== undefined && report.matching === 0) {
        process.stderr.write(`culvert: no service is called ${name}; culvert services lists all\n`);
        process.exitCode = exitCodes.notFound.code;
        return;
      }
      show(options.output, report, () =>
        name === undefined ? servicesText(report) : report.services.map(serviceText).join("\n\n"),
      );
      const hidden = report.matching - report.services.length;
      if (hidden > 0 && options.output === "table") say(`${hidden} more; --limit shows more`);
    });
}

function servicesText({ services }: ServicesReport): string {
  if (services.length === 0) return "no services";
  const rows = services.flatMap(({ name, addresses, ports }) =>
    ports.map(({ port, targetPort, endpoints }) => [
      name,
      addresses.join(","),
      port === targetPort ? `${port}` : `${port}→${targetPort}`,
      readiness(endpoints),
    ]),
  );
  return table(["NAME", "ADDRESSES", "PORT", "ENDPOINTS"], rows);
}

/** Workloads, not addresses: with two families each endpoint has two. */
function readiness(endpoints: readonly EndpointState[]): string {
  const names = (of: readonly EndpointState[]) => new Set(of.map(({ name }) => name)).size;
  return `${names(endpoints.filter(({ isEligible }) => isEligible))}/${names(endpoints)}`;
}

function serviceText({ name, addresses, ports }: ServiceReport): string {
  const parts = ports.map(({ port, endpoints }) => {
    const title = `${name}:${port} (${addresses.join(", ")})`;
    return endpoints.length === 0
      ? `${title}\nno endpoints: connections are refused`
      : `${title}\n${endpointTable(endpoints)}`;
  });
  return parts.join("\n\n");
}

export function endpointTable(endpoints: readonly EndpointState[]): string {
  const rows = endpoints.map((it) => [
    it.name,
    it.address,
    it.node,
    it.transport,
    it.isEligible ? "yes" : "no",
    String(it.openConnections),
    it.why,
  ]);
  return table(["ENDPOINT", "ADDRESS", "NODE", "TRANSPORT", "ELIGIBLE", "OPEN", "WHY"], rows);
}
