// Which Culvert a command speaks to: the one that is named, or the only one of this machine.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { socketDirectory } from "../app/defaults.ts";
import { culvertError } from "../telemetry/errors.ts";

/** Throws NODE_NOT_FOUND or NODE_UNCLEAR. */
export function findSocket(given: string | undefined): string {
  const named = namedSocket(given);
  if (named !== undefined) return named;
  const sockets = socketsOfMachine();
  if (sockets.length === 1) return sockets[0]!;
  if (sockets.length === 0) throw culvertError("NODE_NOT_FOUND", { socket: join(socketDirectory, "<node>.sock") });
  throw culvertError("NODE_UNCLEAR", { directory: socketDirectory, names: sockets.join(", ") });
}

/** By the option or, without it, the environment. */
export function namedSocket(given: string | undefined): string | undefined {
  return given ?? (process.env.CULVERT_SOCKET || undefined);
}

/** undefined: there is none, or there are several. */
export function onlySocket(): string | undefined {
  const sockets = socketsOfMachine();
  return sockets.length === 1 ? sockets[0] : undefined;
}

function socketsOfMachine(): string[] {
  try {
    return readdirSync(socketDirectory)
      .filter((name) => name.endsWith(".sock"))
      .map((name) => join(socketDirectory, name));
  } catch {
    return [];
  }
}
