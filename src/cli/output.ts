// How commands show what they know: tables as kubectl has them, or JSON for scripts.

import { type Command, Option } from "commander";

export type Format = "table" | "json";

export interface NodeOptions {
  readonly socket?: string;
  readonly output: Format;
}

/** `--socket` and `--output`, of a command that asks a running node. */
export function withNodeOptions(command: Command): Command {
  return withOutputOption(
    command.option(
      "--socket <path>",
      "admin socket of the node; default: $CULVERT_SOCKET, or the only one in /run/culvert",
    ),
  );
}

export function withOutputOption(command: Command): Command {
  return command.addOption(
    new Option("-o, --output <format>", "how to show it").choices(["table", "json"]).default("table"),
  );
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** `text` is asked for only where it is wanted. */
export function show(format: Format, report: unknown, text: () => string): void {
  say(format === "json" ? JSON.stringify(report, undefined, 2) : text());
}

/** Columns as wide as their widest cell; nothing after the last. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

/** Lines of `name  value`. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join("\n");
}

/** `0.4s`, `12s`, `3m5s`, `2h10m`, `4d3h` */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 9950) return `${(milliseconds / 1000).toFixed(1)}s`;
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours}h${minutes % 60}m` : `${Math.floor(hours / 24)}d${hours % 24}h`;
}

/** `512B`, `1.5KiB`, `20MiB` */
export function formatBytes(bytes: number): string {
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${unit === "B" || value >= 10 ? Math.round(value) : value.toFixed(1)}${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)}TiB`;
}
