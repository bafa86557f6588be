// A few network namespaces on one bridge, with real processes in them, and cgroups: pods below one, the proxy in
// another. Namespaces live as long as their process, processes as long as the test's; cgroups of tests that were
// killed are removed by the next one.
//
//   host-x 10.77.0.x, fd77::x ──┐
//   host-y 10.77.0.y, fd77::y ──┴── bridge

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { findCgroupRoot } from "../../../src/kernel/cgroup.ts";
import { Caller } from "./calls.ts";
import type { Dialled } from "./greeting.ts";
import type { HostFunctions } from "./host-process.ts";
import type { PodText, ProxyFunctions } from "./proxy-process.ts";

const cgroupPrefix = "culvert-kernel-test-";
let labs = 0;
const here = import.meta.dirname;

/** Why these tests cannot run here, or false. For the `skip` option of a test. */
export function cannotRun(): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  try {
    findCgroupRoot();
    return false;
  } catch (error) {
    return (error as Error).message;
  }
}

export class Host {
  readonly name: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly app: Caller<HostFunctions>;

  constructor(name: string, index: number, app: Caller<HostFunctions>) {
    this.name = name;
    this.ip4 = `10.77.0.${index}`;
    this.ip6 = `fd77::${index}`;
    this.app = app;
  }

  get netnsPath(): string {
    return `/proc/${this.app.pid}/ns/net`;
  }

  /** As `serve`, on every address and over both families. */
  async serve(port: number): Promise<void> {
    await this.app.call("serve", { who: this.name, host: "::", port });
  }

  dial(host: string, port: number, from: { localAddress?: string; localPort?: number } = {}): Promise<Dialled> {
    return this.app.call("dial", { host, port, ...from });
  }

  request(options: Partial<PodText> = {}): PodText {
    return { name: this.name, netnsPath: this.netnsPath, addresses: [this.ip4, this.ip6], ...options };
  }
}

export class LabProxy {
  readonly process: Caller<ProxyFunctions>;

  constructor(process: Caller<ProxyFunctions>) {
    this.process = process;
  }

  async enroll(host: Host, options: Partial<PodText> = {}): Promise<number> {
    const { id } = await this.process.call("prepare", host.request(options));
    await this.process.call("arm", host.name);
    return id;
  }

  /** What the counters rose by while `action` ran; reasons that did not move are left out. */
  async counted(action: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await this.process.call("reasonCounts");
    await action();
    const after = await this.process.call("reasonCounts");
    const rises = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
    return Object.fromEntries(rises.filter(([, rise]) => rise !== 0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.kill();
  }
}

export class Lab implements AsyncDisposable {
  readonly podsCgroup: string;
  readonly proxyCgroup: string;
  /** Of whoever probes; made by the test that wants it. */
  readonly kubeletCgroup: string;
  /** For a proxy to pin what it has; in a directory that goes with the lab. */
  readonly pins: string;
  readonly #cgroup: string;
  readonly #children: ChildProcess[];
  #hosts: number;
  #bridge: Caller<HostFunctions> | undefined;

  private constructor(cgroup: string, isProxyBelowPods: boolean) {
    this.#cgroup = cgroup;
    this.podsCgroup = join(cgroup, "pods");
    this.proxyCgroup = join(cgroup, isProxyBelowPods ? "pods/proxy" : "proxy");
    this.kubeletCgroup = join(cgroup, "kubelet");
    this.pins = join(pinsOf(basename(cgroup)), "node");
    this.#children = [];
    this.#hosts = 0;
  }

  static async create({ isProxyBelowPods = false } = {}): Promise<Lab> {
    const root = findCgroupRoot();
    removeCgroupsOfTheDead(root);
    const lab = new Lab(join(root, `${cgroupPrefix}${process.pid}-${labs++}`), isProxyBelowPods);
    for (const path of [lab.podsCgroup, lab.proxyCgroup]) mkdirSync(path, { recursive: true });
    lab.#bridge = await lab.#startHost("unshare", ["--net"], lab.#cgroup);
    await lab.#ip(lab.#bridge, ["link add bridge0 type bridge", "link set bridge0 up"]);
    return lab;
  }

  /** A namespace with a process of the pods' cgroup, or of none where `isPod` is false. */
  async host(name: string, { isPod = true } = {}): Promise<Host> {
    const index = ++this.#hosts;
    const app = await this.#startHost("unshare", ["--net"], isPod ? this.podsCgroup : this.#cgroup);
    const host = new Host(name, index, app);
    await this.#ip(this.#bridge!, [
      `link add port${index} type veth peer name eth0 netns ${app.pid}`,
      `link set port${index} master bridge0 up`,
    ]);
    await this.#ip(app, [
      "link set lo up",
      `address add ${host.ip4}/16 dev eth0`,
      `address add ${host.ip6}/64 dev eth0 nodad`,
      "link set eth0 up",
      // Where no route leads a connection fails before it leaves, which is not what these tests are about.
      "route add default via 10.77.255.254",
    ]);
    return host;
  }

  /** One more process in the host's namespace: another program of the pod, or (by its cgroup) one of the proxy. */
  in(host: Host, cgroup: string): Promise<Caller<HostFunctions>> {
    return this.#startHost("nsenter", [`--net=${host.netnsPath}`], cgroup);
  }

  /** Runs a program of the pod to its end, and answers what it printed. */
  async run(host: Host, ...command: string[]): Promise<string> {
    const script = `echo $$ >${this.podsCgroup}/cgroup.procs && exec nsenter --net=${host.netnsPath} "$@"`;
    return (await promisify(execFile)("sh", ["-c", script, "sh", ...command])).stdout.trim();
  }

  async proxy(mode = ""): Promise<LabProxy> {
    const child = this.#spawn([
      process.execPath,
      join(here, "proxy-process.ts"),
      this.podsCgroup,
      this.proxyCgroup,
      mode,
    ]);
    return new LabProxy(await Caller.of<ProxyFunctions>(child));
  }

  /** With the hosts' addresses as destinations of interest. */
  async startedProxy(
    destinations: readonly Host[],
    cidrs: string[] = [],
    options: { objects?: string; pins?: string; unknownPods?: "pass" | "deny"; kubeletCgroup?: string } = {},
  ): Promise<LabProxy> {
    const proxy = await this.proxy();
    await proxy.process.call("start", options);
    const addresses = destinations.flatMap(({ ip4, ip6 }) => [ip4, ip6]);
    await proxy.process.call("setDestinations", { addresses, cidrs });
    return proxy;
  }

  #startHost(command: string, options: string[], cgroup: string): Promise<Caller<HostFunctions>> {
    const enter = `echo $$ >${cgroup}/cgroup.procs && exec "$@"`;
    const program = [process.execPath, join(here, "host-process.ts")];
    return Caller.of<HostFunctions>(this.#spawn(["sh", "-c", enter, "sh", command, ...options, "--", ...program]));
  }

  #spawn([command, ...args]: string[]): ChildProcess {
    const child = spawn(command!, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#children.push(child);
    return child;
  }

  async #ip(host: Caller<HostFunctions>, lines: string[]): Promise<void> {
    const running = promisify(execFile)("nsenter", [`--net=/proc/${host.pid}/ns/net`, "ip", "-batch", "-"]);
    running.child.stdin?.end(`${lines.join("\n")}\n`);
    await running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    removeTree(this.#cgroup);
  }
}

function pinsOf(labName: string): string {
  return join("/sys/fs/bpf", labName);
}

/** A cgroup goes only after its processes' exits are through; those of a lab have been waited for. */
function removeTree(cgroup: string): void {
  for (const name of ["pods/proxy", "pods", "proxy", "kubelet", ""]) {
    const path = join(cgroup, name);
    if (existsSync(path)) rmdirSync(path);
  }
  rmSync(pinsOf(basename(cgroup)), { recursive: true, force: true });
}

function pidIn(name: string): string | undefined {
  return name.slice(cgroupPrefix.length).split("-")[0];
}

function removeCgroupsOfTheDead(root: string): void {
  for (const name of readdirSync(root)) {
    if (!name.startsWith(cgroupPrefix) || existsSync(`/proc/${pidIn(name)}`)) continue;
    try {
      removeTree(join(root, name));
    } catch {
      // Processes of a test that was killed just now are still ending.
    }
  }
}

/** The ids of this machine's BPF objects that are among `ids`. */
export function stillThere(
  ids: { links: number[]; maps: number[]; programs: number[] },
  tool: string,
): { links: number[]; maps: number[]; programs: number[] } {
  const all = JSON.parse(execFileSync(tool, { encoding: "utf8" })) as typeof ids;
  const common = (kind: keyof typeof ids) => ids[kind].filter((id) => all[kind].includes(id));
  return { links: common("links"), maps: common("maps"), programs: common("programs") };
}

/** TCP ports that somebody listens on in the host's namespace. */
export function listeningPorts(host: Host): number[] {
  const ports = new Set<number>();
  for (const table of ["tcp", "tcp6"]) {
    for (const line of readFileSync(`/proc/${host.app.pid}/net/${table}`, "utf8").split("\n")) {
      const [, local, , state] = line.trim().split(/\s+/);
      if (state === "0A" && local !== undefined) ports.add(Number.parseInt(local.split(":")[1]!, 16));
    }
  }
  return [...ports].sort((a, b) => a - b);
}
