// A UNIX socket at a path, as a service wants it: the file that a dead process left is replaced, a live one is not, and
// nobody but the owner can open it at any moment.

import { lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { createConnection, type Server } from "node:net";
import { dirname } from "node:path";
import { culvertError } from "../telemetry/errors.ts";

/** Makes the directory and removes a dead process's socket. Throws if something else is there, or a process answers. */
export async function claimSocketPath(socket: string): Promise<void> {
  const blocked = (cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return culvertError("ADMIN_SOCKET_BLOCKED", { socket, reason }, cause);
  };
  try {
    mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
    const stat = lstatSync(socket, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (!stat.isSocket()) throw new Error("a file that is no socket is there");
    if (!(await answers(socket))) {
      unlinkSync(socket);
      return;
    }
  } catch (error) {
    throw blocked(error);
  }
  throw culvertError("ADMIN_SOCKET_IN_USE", { socket });
}

/** Resolves when the server listens at the path with mode 0600. */
export function listenPrivately(server: Server, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(culvertError("ADMIN_SOCKET_BLOCKED", { socket, reason: cause.message }, cause));
    });
    // bind(2) happens within listen(), so the file never has another mode: a chmod afterwards would leave a gap.
    const umask = process.umask(0o177);
    try {
      server.listen({ path: socket }, resolve);
    } finally {
      process.umask(umask);
    }
  });
}

/** False when nobody listens any more. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
      else reject(error);
    });
  });
}
