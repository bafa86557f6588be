// Culvert's BPF objects, built once more with another maps.h: another version of it, whose maps are laid out in another way.
// Compiled when first needed, and kept under build/test.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../../netns/harness/tools.ts";

const changes = {
  /** Everything else is as it is. */
  oneMapMore: (maps: string) => `${maps}
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} of_another_version SEC(".maps");
`,
  onePod: (maps: string) =>
    maps.replace(/(max_entries, )MAX_PODS(\);\s+__type\(key, __u64\);\s+__type\(value, struct pod\);)/, "$11$2"),
  fourDestinations: (maps: string) => maps.replace("max_entries, 262144", "max_entries, 4"),
} as const;

export const otherVersions = Object.keys(changes) as (keyof typeof changes)[];

/** The directory of that version's objects. */
export function otherObjects(version: keyof typeof changes): string {
  const sources = join(projectRoot, "bpf");
  const maps = readFileSync(join(sources, "maps.h"), "utf8");
  const changed = changes[version](maps);
  if (changed === maps) throw new Error(`${version} changes nothing in maps.h`);
  const hash = createHash("sha256").update(changed);
  const files = readdirSync(sources).sort();
  for (const name of files) hash.update(readFileSync(join(sources, name)));
  const directory = join(projectRoot, "build/test", `bpf-${version}-${hash.digest("hex").slice(0, 12)}`);
  if (!existsSync(directory)) compile(sources, changed, directory);
  return directory;
}

function compile(sources: string, maps: string, directory: string): void {
  const [unfinished, copy] = [`${directory}.${process.pid}`, `${directory}.${process.pid}.source`];
  mkdirSync(unfinished, { recursive: true });
  cpSync(sources, copy, { recursive: true });
  writeFileSync(join(copy, "maps.h"), maps);
  const include = `/usr/include/${execFileSync("uname", ["-m"], { encoding: "utf8" }).trim()}-linux-gnu`;
  for (const name of readdirSync(copy).filter((file) => file.endsWith(".bpf.c"))) {
    const object = join(unfinished, name.replace(/c$/, "o"));
    const options = ["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-I", include];
    execFileSync("clang", [...options, "-c", join(copy, name), "-o", object]);
    execFileSync("llvm-strip", ["-g", object]);
  }
  rmSync(copy, { recursive: true });
  try {
    renameSync(unfinished, directory);
  } catch (error) {
    // Another test process was as quick.
    if (!existsSync(directory)) throw error;
    rmSync(unfinished, { recursive: true });
  }
}
