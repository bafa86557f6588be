// The small C programs of test/netns/tools and the BPF programs of test/netns/programs, compiled when first needed and kept under build/test.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parseAddress } from "../../../src/mesh/address.ts";

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

/** The path of the BPF object of `test/netns/programs/<name>.bpf.c`, compiled with these macros. */
export async function bpfTool(name: string, macros: Readonly<Record<string, string>>): Promise<string> {
  const source = join(projectRoot, "test/netns/programs", `${name}.bpf.c`);
  const defined = Object.entries(macros).map(([macro, value]) => `-D${macro}=${value}`);
  const hash = createHash("sha256").update(readFileSync(source)).update(defined.join("\n"));
  const object = join(projectRoot, "build/test", `${name}-${hash.digest("hex").slice(0, 12)}.bpf.o`);
  if (existsSync(object)) return object;
  mkdirSync(dirname(object), { recursive: true });
  const unfinished = `${object}.${process.pid}`;
  const include = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-Wall", "-Wextra", "-Werror", "-I", include];
  await promisify(execFile)("clang", [...flags, ...defined, "-c", source, "-o", unfinished]);
  renameSync(unfinished, object);
  return object;
}

/** For `bpfTool`: NAME4 and NAME6, the addresses' words in network order, as C. */
export function addressMacros(name: string, [ipv4, ipv6]: readonly [string, string]): Record<string, string> {
  const words = (text: string) => parseAddress(text)!.words.map((word) => `bpf_htonl(${word}u)`);
  return { [`${name}4`]: words(ipv4)[3]!, [`${name}6`]: words(ipv6).join(",") };
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
