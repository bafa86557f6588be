// Where a subject is measured: a mesh of its own (namespaces, bridge, cgroup) with one client pod and the servers. All
// places are alike, so that subjects differ by nothing but what carries their bytes.

import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Application } from "../../test/netns/harness/applications.ts";
import type { Host } from "../../test/netns/harness/host.ts";
import { Mesh } from "../../test/netns/harness/mesh.ts";
import type { MeshNode } from "../../test/netns/harness/mesh-node.ts";
import type { Pod } from "../../test/netns/harness/pod.ts";
import type { RunningProcess } from "../../test/netns/harness/running-process.ts";
import { loadProgram } from "./load.ts";

export const echoPort = 7000;
export const sinkPort = 7001;
/** Where servers speak first. */
export const greetingPort = 7003;
/** Of a proxy without virtual addresses: where it takes the short connections. */
export const shortPort = 7002;

/**
 * Servers that share the short connections. A client that closes first leaves a port in TIME_WAIT for 60 s, and one
 * address:port has 28,232 of them: with ten the kernel's limit on TIME_WAIT sockets (262,144 at most) comes first, so
 * no subject, unmeshed included, runs out of ports because of the benchmark.
 */
export const serverCount = 10;

/** Servers that only some benchmarks need, by name: each listens on one port of a pod of its own. */
export type Applications = Readonly<Record<string, Application>>;

/** What the client dials, and for each of the place's applications, by its name. */
export interface Targets {
  readonly [name: string]: readonly string[];
  /** One server that echoes. */
  readonly echo: readonly string[];
  /** One server that swallows. */
  readonly sink: readonly string[];
  /** All servers in turn; they echo. */
  readonly short: readonly string[];
  /** All servers in turn; they speak first. */
  readonly greeting: readonly string[];
}

export class Place implements AsyncDisposable {
  readonly mesh: Mesh;
  readonly node: MeshNode;
  readonly client: Pod;
  readonly servers: readonly Pod[];
  readonly applications: readonly { readonly name: string; readonly pod: Pod; readonly port: number }[];

  private constructor(mesh: Mesh, load: string, applications: Applications) {
    this.mesh = mesh;
    this.node = mesh.node("node");
    this.client = this.node.pod("client");
    this.servers = Array.from({ length: serverCount }, (_, i) => this.node.pod(`server-${i}`).serve(server(load)));
    this.applications = Object.entries(applications).map(([name, application]) => ({
      name,
      pod: this.node.pod(name).serve(application),
      port: application.ports[0]!,
    }));
  }

  static async start(applications: Applications = {}): Promise<Place> {
    const load = await loadProgram();
    return new Place(await Mesh.start(), load, applications);
  }

  get #logs(): string {
    return join(this.mesh.directory, "logs");
  }

  /** An empty file for a proxy's log. */
  logFile(name: string): string {
    mkdirSync(this.#logs, { recursive: true });
    const log = join(this.#logs, `${name}.log`);
    writeFileSync(log, "");
    return log;
  }

  /** Empties the access logs, which would otherwise grow by gigabytes. */
  truncateLogs(): void {
    if (!existsSync(this.#logs)) return;
    for (const log of readdirSync(this.#logs)) truncateSync(join(this.#logs, log), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}

/** The command with its output appended to `log`: read by this process, it would load the machine that is being measured. */
export function loggingTo(log: string, command: readonly string[]): [string, ...string[]] {
  return ["/bin/sh", "-c", 'log=$1; shift; exec "$@" >>"$log"', "sh", log, ...command];
}

/** Resolves when `isReady` is true; throws with the program's last words when it ended instead, or after 15 s. */
export async function until(isReady: () => boolean, what: string, running: RunningProcess, log: string): Promise<void> {
  const end = performance.now() + 15_000;
  while (!isReady()) {
    if (running.hasExited || performance.now() > end) {
      const words = [...readFileSync(log, "utf8").trimEnd().split("\n").slice(-10), ...running.stderr.slice(-20)];
      throw new Error(`${what} is not ready; its last words:\n  ${words.join("\n  ")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10)); // Neither a listening port nor a file's growth is an event.
  }
}

export function isListening(host: Host, ports: readonly number[]): boolean {
  const listening = host.namespace.listeningPorts();
  return ports.every((port) => listening.has(port));
}

/** Listens on all three ports. */
export function server(load: string): Application {
  return {
    name: "load serve",
    ports: [echoPort, sinkPort, greetingPort],
    command: () => [load, "serve", `${echoPort}`, `${sinkPort}`, `${greetingPort}`],
  };
}
