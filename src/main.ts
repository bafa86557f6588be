import { readFileSync } from "node:fs";
import { exitCodeOf, isUsage } from "./cli/exit-codes.ts";
import { createProgram, explain } from "./cli/program.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

try {
  await createProgram(version).parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
  if (!isUsage(error)) process.stderr.write(`${explain(error)}\n`);
}
