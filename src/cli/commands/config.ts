// culvert config validate

import type { Command } from "commander";
import { exitCodes } from "../exit-codes.ts";
import { type Format, show, withOutputOption } from "../output.ts";

export function addConfig(program: Command): void {
  const config = program.command("config").description("Look at mesh files.");
  withOutputOption(config.command("validate"))
    .description("Say what is wrong in a mesh file, all of it, each with its line and column. Nothing is applied.")
    .argument("<file>", "a mesh file (README: mesh.yaml)")
    .addHelpText(
      "after",
      `
A warning tells what is valid and hardly meant.
Exit codes: 0 valid, with or without warnings, 1 not.

Examples:
  culvert config validate /etc/culvert/mesh.yaml
  culvert config validate mesh.yaml -o json | jq -r '.problems[] | "\\(.line): \\(.message)"'`,
    )
    .action(async (file: string, options: { output: Format }) => {
      const { loadMeshFile } = await import("../../discovery/file-source.ts");
      const { meshWarnings } = await import("../../discovery/mesh-warnings.ts");
      const { ConfigError } = await import("../../discovery/config-error.ts");
      try {
        const mesh = loadMeshFile(file);
        const { snapshot, pods, node } = mesh;
        const warnings = meshWarnings(mesh);
        const counts = { workloads: snapshot.workloads.length, services: snapshot.services.length, pods: pods.length };
        show(options.output, { file, valid: true, problems: [], warnings, node: node.name, ...counts }, () =>
          [
            `${file} is valid: ${counts.workloads} workloads, ${counts.services} services; node ${node.name} has ${counts.pods} pods`,
            ...warnings.map(({ message, fix }) => `warning: ${message}; ${fix}`),
          ].join("\n"),
        );
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        process.exitCode = exitCodes.failed.code;
        if (options.output === "json") show("json", { file, valid: false, problems: error.problems }, () => "");
        else process.stderr.write(`culvert: ${error.message}\n`);
      }
    });
}
