// Culvert's BPF objects, built once more with other sources: another version of it, whose maps are laid out in another way.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const sources = join(import.meta.dirname, "../../../bpf");

/** One map more: everything else is as it is. */
export const oneMapMore = (maps: string) => `${maps}
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} of_another_version SEC(".maps");
`;

/** The directory of the objects; maps.h is what `change` makes of it. The caller removes the directory. */
export function buildObjects(change: (maps: string) => string): string {
  const directory = mkdtempSync(join(tmpdir(), "culvert-objects-"));
  const copy = join(directory, "source");
  cpSync(sources, copy, { recursive: true });
  const maps = join(copy, "maps.h");
  const before = readFileSync(maps, "utf8");
  const after = change(before);
  if (after === before) throw new Error("the change changed nothing");
  writeFileSync(maps, after);
  const include = `/usr/include/${execFileSync("uname", ["-m"], { encoding: "utf8" }).trim()}-linux-gnu`;
  for (const name of readdirSync(copy).filter((file) => file.endsWith(".bpf.c"))) {
    const options = ["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-I", include];
    const object = join(directory, name.replace(/c$/, "o"));
    execFileSync("clang", [...options, "-c", join(copy, name), "-o", object]);
  }
  rmSync(copy, { recursive: true });
  return directory;
}
