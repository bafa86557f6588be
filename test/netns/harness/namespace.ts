// A network namespace, held by a process of ours and gone with it (nothing is mounted under /run/netns). Configured by
// batches of `ip` commands, so that a whole mesh stands in a fraction of a second.

import { readFileSync } from "node:fs";
import { RunningProcess } from "./running-process.ts";

/** As /proc/net/tcp writes them (include/net/tcp_states.h). */
export const tcpState = { closeWait: "08", lastAck: "09", listen: "0A" } as const;

// IPv6 addresses are usable at once (no duplicate address detection); packets may come back another way than they went
// (a service's address is routed by the node, the answer comes straight from the endpoint).
const setUp = `
cd /proc/sys/net
echo 0 >ipv6/conf/default/accept_dad; echo 0 >ipv6/conf/all/accept_dad
echo 0 >ipv6/conf/default/accept_ra
echo 0 >ipv4/conf/default/rp_filter; echo 0 >ipv4/conf/all/rp_filter
echo 0 >ipv4/conf/default/send_redirects; echo 0 >ipv4/conf/all/send_redirects
[ "$1" = forward ] && { echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding; }
ip link set lo up
echo ready
exec cat`;

export class Namespace {
  readonly name: string;
  readonly #cgroup: string;
  readonly #holder: RunningProcess;

  private constructor(name: string, cgroup: string, forwards: boolean) {
    this.name = name;
    this.#cgroup = cgroup;
    const script = ["/bin/sh", "-c", setUp, "sh", forwards ? "forward" : "end"];
    this.#holder = new RunningProcess(`namespace ${name}`, ["unshare", "--net", ...script], { cgroup });
  }

  /** `cgroup`: of the process that holds the namespace. `forwards`: routes between its links. */
  static async create(name: string, cgroup: string, options: { forwards: boolean }): Promise<Namespace> {
    const namespace = new Namespace(name, cgroup, options.forwards);
    await namespace.#holder.stdout.find("ready", (line) => line === "ready");
    return namespace;
  }

  get path(): string {
    return `/proc/${this.#holder.pid}/ns/net`;
  }

  /** For `ip link … netns <pid>`. */
  get pid(): number {
    return this.#holder.pid;
  }

  /** Ends the process that holds it: nothing of it has a path any more. */
  async end(): Promise<void> {
    this.#holder.endInput();
    await this.#holder.exited;
  }

  /** Executes `ip` command lines in the namespace, or those of `tc`; the first that fails ends it. */
  async configure(lines: readonly string[], program: "ip" | "tc" = "ip"): Promise<void> {
    if (lines.length === 0) return;
    const batch = new RunningProcess(`${program} in ${this.name}`, [program, "-batch", "-"], {
      cgroup: this.#cgroup,
      netns: this.path,
    });
    for (const line of lines) batch.writeLine(line);
    batch.endInput();
    const { code } = await batch.exited;
    if (code !== 0)
      throw new Error(`configure ${this.name}: ${batch.stderr.join("; ")}; the lines were:\n${lines.join("\n")}`);
  }

  /** TCP ports with a listener, of both families. */
  listeningPorts(): Set<number> {
    return new Set(this.#sockets().flatMap(({ port, state }) => (state === tcpState.listen ? [port] : [])));
  }

  /** Of whatever port. */
  countAll(state: (typeof tcpState)[keyof typeof tcpState]): number {
    return this.#sockets().filter((socket) => socket.state === state).length;
  }

  /** How many sockets of that local port are in that state. */
  count(port: number, state: (typeof tcpState)[keyof typeof tcpState]): number {
    return this.#sockets().filter((socket) => socket.port === port && socket.state === state).length;
  }

  /** The ports of those that sockets with that local port are connected to. */
  peerPorts(port: number): Set<number> {
    return new Set(this.#sockets().flatMap((socket) => (socket.port === port ? [socket.peerPort] : [])));
  }

  /** A counter of /proc/net/netstat, such as TcpExt TCPSYNChallenge. */
  counter(group: string, name: string): number {
    const lines = readFileSync(`/proc/${this.#holder.pid}/net/netstat`, "utf8").split("\n");
    const [names, values] = lines.filter((line) => line.startsWith(`${group}:`)).map((line) => line.split(" "));
    const at = names?.indexOf(name) ?? -1;
    if (at < 0) throw new Error(`no counter ${name} in group ${group} of /proc/net/netstat`);
    return Number(values![at]);
  }

  #sockets(): { port: number; peerPort: number; state: string }[] {
    return ["tcp", "tcp6"].flatMap((table) => {
      const lines = readFileSync(`/proc/${this.#holder.pid}/net/${table}`, "utf8").trim().split("\n").slice(1);
      return lines.map((line) => {
        const [, local, peer, state] = line.trim().split(/\s+/);
        const [port, peerPort] = [local!, peer!].map((address) => Number.parseInt(address.split(":")[1]!, 16));
        return { port: port!, peerPort: peerPort!, state: state! };
      });
    });
  }
}
