// Debian's cloud kernels, newest point release, from the security archive of the mirror that this machine's apt is set
// up with; checked by apt against the archive's signature. Kept unpacked under build/vm/kernels.

import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { projectRoot } from "../netns/harness/tools.ts";

const run = promisify(execFile);

/** By the Debian release that has it as its own kernel. */
const suites = { "5.10": "bullseye-security", "6.1": "bookworm-security", "6.12": "trixie-security" } as const;
export type Series = keyof typeof suites;
export const allSeries = Object.keys(suites) as Series[];

/** What the tests need and Debian does not build in, each after those that it needs itself. */
const modules = ["llc", "stp", "bridge", "veth", "inet_diag", "tcp_diag"];

export interface Kernel {
  readonly series: Series;
  /** As uname -r has it. */
  readonly release: string;
  readonly image: string;
  /** Uncompressed .ko files, in the order in which they can be inserted. */
  readonly modules: readonly string[];
}

/** `renew`: asks for the newest although one is here. Throws with the reason when there is none to be had. */
export async function provideKernel(series: Series, { renew = false } = {}): Promise<Kernel> {
  const directory = join(projectRoot, "build/vm/kernels", series);
  if (renew || !existsSync(directory)) await fetchKernel(series, directory);
  const found = modules.map((name) => join(directory, `${name}.ko`)).filter((path) => existsSync(path));
  const release = readFileSync(join(directory, "release"), "utf8");
  return { series, release, image: join(directory, "vmlinuz"), modules: found };
}

async function fetchKernel(series: Series, directory: string): Promise<void> {
  const work = `${directory}.${process.pid}`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, "apt/lists/partial"), { recursive: true });
  try {
    await unpack(await download(suites[series], work), work);
    rmSync(directory, { recursive: true, force: true });
    renameSync(join(work, "kernel"), directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Answers the path of the package. Uses an apt configuration of its own: the machine's lists stay as they are. */
async function download(suite: string, work: string): Promise<string> {
  const source = await securitySource(suite);
  writeFileSync(join(work, "apt/sources.list"), `${source}\n`);
  const settings = [
    `Dir::Etc::sourcelist=${work}/apt/sources.list`,
    "Dir::Etc::sourceparts=-",
    `Dir::State::lists=${work}/apt/lists`,
    `Dir::Cache=${work}/apt`,
    "Dir::State::status=/dev/null",
    "APT::Architecture=amd64",
    "APT::Architectures=amd64",
    "APT::Sandbox::User=root",
    "Acquire::Languages=none",
    // The list of a suite that gets no more updates expires; its signature still holds.
    "Acquire::Check-Valid-Until=false",
    "Acquire::http::Timeout=20",
    "APT::Update::Error-Mode=any",
  ].flatMap((setting) => ["-o", setting]);
  const attempt = async (program: string, ...args: string[]) => {
    try {
      return (await run(program, [...settings, ...args], { cwd: work })).stdout;
    } catch (cause) {
      // Not the command line: it is long, and the same for everybody.
      const said = (cause as { stderr?: string }).stderr?.trim() || (cause as Error).message;
      throw new Error(`${program} ${args[0]} for ${suite}: ${said}`, { cause });
    }
  };
  await attempt("apt-get", "update", "-qq");
  const description = await attempt("apt-cache", "show", "--no-all-versions", "linux-image-cloud-amd64");
  const name = /^Depends: (linux-image-\S+)/m.exec(description)?.[1];
  if (name === undefined) throw new Error(`find the kernel of ${suite}: linux-image-cloud-amd64 depends on none`);
  await attempt("apt-get", "download", "-qq", name);
  return join(work, readdirSync(work).find((file) => file.endsWith(".deb"))!);
}

/** The line of a sources.list: this machine's own security archive, another suite of it. */
async function securitySource(suite: string): Promise<string> {
  const format = "$(RELEASE) $(REPO_URI)";
  const { stdout } = await run("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]);
  const lines = stdout.split("\n").map((line) => line.split(" "));
  const uri = lines.find(([release]) => release?.endsWith("-security"))?.[1];
  if (uri === undefined) throw new Error("find a mirror: apt's sources have no Debian security archive");
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  return `deb ${existsSync(keyring) ? `[signed-by=${keyring}] ` : ""}${uri} ${suite} main`;
}

async function unpack(packagePath: string, work: string): Promise<void> {
  const kernel = join(work, "kernel");
  const tree = join(work, "tree");
  mkdirSync(kernel);
  mkdirSync(tree);
  const wanted = ["*/vmlinuz-*", ...modules.map((name) => `*/${name}.ko*`)].map((name) => `'${name}'`).join(" ");
  // tar complains about patterns that match nothing: what is built in has no module.
  const extract = `dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --wildcards ${wanted} 2>/dev/null || :`;
  await run("sh", ["-c", extract, "sh", packagePath, tree]);
  const paths = readdirSync(tree, { recursive: true }).map(String);
  const image = paths.find((path) => path.includes("vmlinuz-"));
  if (image === undefined) throw new Error(`unpack ${packagePath}: no kernel in it`);
  for (const path of paths.filter((each) => each.endsWith(".ko.xz"))) await run("xz", ["-d", join(tree, path)]);
  for (const name of modules) {
    const path = paths.find((each) => each.includes(`/${name}.ko`));
    if (path !== undefined) renameSync(join(tree, path.replace(/\.xz$/, "")), join(kernel, `${name}.ko`));
  }
  renameSync(join(tree, image), join(kernel, "vmlinuz"));
  writeFileSync(join(kernel, "release"), image.slice(image.indexOf("vmlinuz-") + "vmlinuz-".length));
}
