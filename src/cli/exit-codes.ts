// What the commands exit with, for scripts: docs/commands.md repeats the table, a test compares. Codes keep their meaning.

import { CommanderError } from "commander";
import { AdminRefusal } from "../admin/admin-client.ts";
import { CulvertError, type ErrorCode } from "../telemetry/errors.ts";

export const exitCodes = {
  ok: { code: 0, meaning: "done; of `check`: no ×; of `why`: the proxy carries it" },
  failed: { code: 1, meaning: "could not be done; of `check`: a × was found; of `config validate`: it is not valid" },
  usage: { code: 2, meaning: "the command line is wrong" },
  notRunning: { code: 3, meaning: "no Culvert runs there, or it does not answer" },
  denied: { code: 4, meaning: "not allowed to ask it" },
  notFound: { code: 5, meaning: "there is no such workload or service on this node" },
  passes: { code: 6, meaning: "of `why`: the connection passes the proxy by" },
  fails: { code: 7, meaning: "of `why`: the connection fails (denied or refused)" },
  notReady: { code: 8, meaning: "of `status`: it runs, and is not ready or not live" },
} as const;

const byErrorCode: Partial<Record<ErrorCode, number>> = {
  NODE_NOT_FOUND: exitCodes.notRunning.code,
  NODE_NO_SOCKET: exitCodes.notRunning.code,
  NODE_NOT_RUNNING: exitCodes.notRunning.code,
  NODE_SILENT: exitCodes.notRunning.code,
  NODE_UNCLEAR: exitCodes.usage.code,
  ADMIN_DENIED: exitCodes.denied.code,
};

export function exitCodeOf(error: unknown): number {
  // Help and version end a command too; everything else is a command line that commander has refused.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage.code;
  if (error instanceof AdminRefusal) {
    return error.status === 404 ? exitCodes.notFound.code : error.status === 400 ? exitCodes.usage.code : 1;
  }
  return (error instanceof CulvertError ? byErrorCode[error.code] : undefined) ?? exitCodes.failed.code;
}

/** Commander has printed it already, or it is the help that was asked for. */
export function isUsage(error: unknown): boolean {
  return error instanceof CommanderError;
}
