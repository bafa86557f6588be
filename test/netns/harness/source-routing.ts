// What Culvert sets up in a pod's namespace to keep the addresses of clients, as ip and /proc show it.

import type { Host } from "./host.ts";

const sysctls = ["net/ipv4/tcp_fwmark_accept", "net/ipv4/fwmark_reflect", "net/ipv6/fwmark_reflect"];

export interface SourceRouting {
  readonly rules: readonly string[];
  readonly routes: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
}

export async function sourceRoutingOf(host: Host): Promise<SourceRouting> {
  const lines = async (...args: string[]) => {
    const shown = [...(await ip(host, "-4", args)), ...(await ip(host, "-6", args))];
    return shown.filter((line) => line.includes("7733"));
  };
  const values = (await host.run("cat", ...sysctls.map((name) => `/proc/sys/${name}`))).split("\n");
  return {
    rules: await lines("rule"),
    routes: await lines("route", "show", "table", "all"),
    sysctls: Object.fromEntries(sysctls.map((name, i) => [name, values[i]!])),
  };
}

async function ip(host: Host, family: "-4" | "-6", args: readonly string[]): Promise<string[]> {
  const output = await host.run("ip", family, ...args);
  return output.split("\n").map((line) => `${family} ${line.replace(/\s+/g, " ").trim()}`);
}
