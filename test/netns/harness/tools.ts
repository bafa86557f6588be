// The small C programs of test/netns/tools, compiled when first needed and kept under build/test.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const compiled = new Map<string, Promise<string>>();

/** The path of the program `test/netns/tools/<name>.c`. */
export function tool(name: string): Promise<string> {
  let path = compiled.get(name);
  if (path === undefined) {
    path = compile(name);
    compiled.set(name, path);
  }
  return path;
}

async function compile(name: string): Promise<string> {
  const sources = join(projectRoot, "test/netns/tools");
  const hash = createHash("sha256");
  for (const file of [`${name}.c`, "tool.h"]) hash.update(readFileSync(join(sources, file)));
  const program = join(projectRoot, "build/test", `${name}-${hash.digest("hex").slice(0, 12)}`);
  if (existsSync(program)) return program;
  mkdirSync(dirname(program), { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const flags = ["-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"];
  await promisify(execFile)("clang", [...flags, join(sources, `${name}.c`), "-o", unfinished]);
  renameSync(unfinished, program);
  return program;
}
