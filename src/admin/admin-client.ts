// Asks a running Culvert over its admin socket. What can go wrong says what to do: no socket, nobody behind it, not allowed.

import { statSync } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { CulvertError, culvertError, describeError } from "../telemetry/errors.ts";

/** A worker that hangs is waited for a second; a node that stands still must not keep a command for ever. */
const timeoutMs = 20_000;

export interface AdminReply {
  readonly status: number;
  readonly body: string;
}

/** Throws a CulvertError when nobody answers. */
export async function askAdmin(socket: string, path: string, method: "GET" | "PUT" = "GET"): Promise<AdminReply> {
  const { promise, resolve, reject } = Promise.withResolvers<AdminReply>();
  const signal = AbortSignal.timeout(timeoutMs);
  const sent = request({ socketPath: socket, path, method, agent: false, signal }, (response) => {
    text(response).then((body) => resolve({ status: response.statusCode!, body }), reject);
  });
  sent.on("error", reject);
  sent.end();
  try {
    return await promise;
  } catch (error) {
    throw explainFailure(socket, error as NodeJS.ErrnoException);
  }
}

/** The JSON of a page. Throws an AdminRefusal with what the node said instead. */
export async function readPage<T>(socket: string, path: string, method: "GET" | "PUT" = "GET"): Promise<T> {
  const { status, body } = await askAdmin(socket, path, method);
  const page = path.split("?", 1)[0]!;
  if (status !== 200) throw new AdminRefusal(status, page, body.trim());
  try {
    return JSON.parse(body) as T;
  } catch {
    throw new AdminRefusal(status, page, "the answer is no report; something else than Culvert listens there");
  }
}

/** The node answered, but with something else than what was asked for. */
export class AdminRefusal extends CulvertError {
  /** Of HTTP: 404 when what was asked about is not there. */
  readonly status: number;

  constructor(status: number, page: string, reason: string) {
    super("ADMIN_REFUSED", describeError("ADMIN_REFUSED", { page, reason }));
    this.status = status;
  }
}

function explainFailure(socket: string, error: NodeJS.ErrnoException): CulvertError {
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
      return culvertError("NODE_NOT_FOUND", { socket }, error);
    case "ECONNREFUSED": {
      // The kernel says the same of a file that is no socket.
      const kind = otherKind(socket);
      if (kind !== undefined) return culvertError("NODE_NO_SOCKET", { socket, kind }, error);
      return culvertError("NODE_NOT_RUNNING", { socket }, error);
    }
    case "EACCES":
    case "EPERM":
      return culvertError("ADMIN_DENIED", { socket }, error);
    default: {
      const isLate = error.name === "TimeoutError" || error.cause instanceof DOMException;
      return culvertError(
        "NODE_SILENT",
        { socket, reason: isLate ? `no answer in ${timeoutMs / 1000} s` : error.message },
        error,
      );
    }
  }
}

/** What there is instead of a socket; undefined: a socket, or nothing any more. */
function otherKind(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || found.isSocket()) return undefined;
  if (found.isDirectory()) return "a directory";
  return found.isFile() ? "a plain file" : "something else";
}
