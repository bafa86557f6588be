// `culvert check`: the machine first, then the mesh file, then what dead Culverts have left, then the node that runs, if
// one does. Nothing is changed. What cannot be looked at is told as a finding of its own.

import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { askAdmin, readPage } from "../../admin/admin-client.ts";
import { CulvertError } from "../../telemetry/errors.ts";
import type { Finding, StatusReport } from "../../telemetry/reports.ts";
import { systemWords } from "../../telemetry/system-words.ts";
import { defaultPinsDirectory } from "../defaults.ts";
import { meshFindings, readMeshFile } from "./configuration.ts";
import { fault, ok, warning } from "./finding.ts";
import { machineFindings } from "./machine.ts";

export interface CheckOptions {
  /** Of the command. */
  readonly version: string;
  readonly configPath: string | undefined;
  /** Of the node that may run; undefined: the mesh file's. */
  readonly socket: string | undefined;
  /** Whether the caller asks for the node of that very socket: then one that does not run is a fault. */
  readonly isNamed: boolean;
}

export interface CheckedPart {
  readonly part: "machine" | "configuration" | "leftovers" | "node";
  readonly findings: readonly Finding[];
}

export async function check({ version, configPath, socket, isNamed }: CheckOptions): Promise<CheckedPart[]> {
  const machine = await machineFindings();
  const parts: CheckedPart[] = [{ part: "machine", findings: machine }];
  const isInstalled = machine.some((it) => it.check === "installation" && it.state === "ok");
  const mayLook = machine.every((it) => it.check !== "privileges" || it.state === "ok");

  const named = configPath === undefined ? undefined : readMeshFile(configPath);
  const place = socket ?? named?.mesh?.node.admin.socket;
  const node = await nodeFindings(place, version, isNamed);
  const file = named ?? (node.status === undefined ? undefined : readMeshFile(node.status.mesh.file));
  const fits = file?.mesh === undefined ? [] : meshFindings(file.mesh, node.status !== undefined);
  let pinsDirectory = defaultPinsDirectory;
  if (file?.mesh !== undefined && isInstalled && mayLook) {
    const { pinsFinding } = await import("./pins.ts");
    const { pins } = file.mesh.node;
    const finding = pinsFinding(pins);
    if (finding.state === "ok") pinsDirectory = dirname(pins);
    // One that runs has pinned already, where its own mount namespace has it.
    if (node.status === undefined) fits.push(finding);
  }
  if (file !== undefined) parts.push({ part: "configuration", findings: [...file.findings, ...fits] });
  if (isInstalled && mayLook) {
    parts.push({ part: "leftovers", findings: await leftoversIn(pinsDirectory) });
  }
  parts.push({ part: "node", findings: node.findings });
  return parts;
}

async function leftoversIn(directory: string): Promise<Finding[]> {
  const { leftoverFindings } = await import("./leftovers.ts");
  try {
    return leftoverFindings(directory);
  } catch (error) {
    const what = `what dead Culverts have left in ${directory} could not be looked at: ${systemWords(error)}`;
    return [warning("pins", what, "mend that, and run culvert check again")];
  }
}

async function nodeFindings(
  socket: string | undefined,
  version: string,
  isNamed: boolean,
): Promise<{ status?: StatusReport; findings: Finding[] }> {
  if (socket === undefined || (!isNamed && !existsSync(socket))) {
    const where =
      socket === undefined
        ? "/run/culvert has no admin socket, or several: then name one with --socket"
        : `${socket} does not exist`;
    return {
      findings: [warning("running", `Culvert does not run: ${where}`, "start it: culvert node --config mesh.yaml")],
    };
  }
  try {
    const status = await readPage<StatusReport>(socket, "/status");
    const findings = await readPage<Finding[]>(socket, "/check");
    const live = await askAdmin(socket, "/live");
    return {
      status,
      findings: [
        ok("running", `node ${status.node} runs as process ${status.pid} since ${status.startedAt}`),
        ...(status.version === version ? [] : [versionFinding(status.version, version)]),
        ...findings,
        ...(live.status === 200 ? [] : [fault("live", `/live says: ${live.body.trim()}`, "restart culvert node")]),
      ],
    };
  } catch (error) {
    if (!(error instanceof CulvertError)) throw error;
    const [what, ...fix] = error.message.split("; ");
    return { findings: [fault("running", what!, fix.join("; "))] };
  }
}

function versionFinding(running: string, own: string): Finding {
  return warning(
    "version",
    `version ${running} runs, and this command is ${own}`,
    "restart culvert node to upgrade it",
  );
}
