// A machine as programs see it: a network namespace with addresses and a cgroup. Pods are hosts; so is what lies outside
// the mesh. Declared first (`serve`), built by Mesh.up(); every action builds what is declared before it acts.

import type { Application } from "./applications.ts";
import { patienceMs } from "./journal.ts";
import type { Namespace } from "./namespace.ts";
import { RemoteSocket } from "./remote-socket.ts";
import { type Exit, RunningProcess } from "./running-process.ts";
import { tool } from "./tools.ts";

export interface Addresses {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
}

export interface Result extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** What a host needs of the mesh that it stands in. */
export interface Site {
  up(): Promise<void>;
  makeDirectory(...names: string[]): string;
}

export class Host {
  readonly name: string;
  readonly addresses: Addresses;
  readonly cgroup: string;
  /** Not built yet, although declared. */
  isHeldBack = false;
  protected readonly site: Site;
  readonly #declared: Application[] = [];
  #namespace: Namespace | undefined;

  constructor(name: string, addresses: Addresses, cgroup: string, site: Site) {
    this.name = name;
    this.addresses = addresses;
    this.cgroup = cgroup;
    this.site = site;
  }

  get ipv4(): string {
    if (this.addresses.ipv4 === undefined) throw new Error(`${this.name} has no IPv4 address`);
    return this.addresses.ipv4;
  }

  get ipv6(): string {
    if (this.addresses.ipv6 === undefined) throw new Error(`${this.name} has no IPv6 address`);
    return this.addresses.ipv6;
  }

  get namespace(): Namespace {
    if (this.#namespace === undefined) throw new Error(`${this.name} is not up yet; await mesh.up() before`);
    return this.#namespace;
  }

  /** For the mesh that builds it. */
  build(namespace: Namespace): void {
    this.#namespace = namespace;
  }

  get isBuilt(): boolean {
    return this.#namespace !== undefined;
  }

  serve(...applications: Application[]): this {
    this.#declared.push(...applications);
    return this;
  }

  /** For the mesh: starts what is declared and not running, and waits until it listens. */
  async startApplications(): Promise<void> {
    await Promise.all(
      this.#declared.splice(0).map(async (application) => {
        const directory = this.site.makeDirectory(this.name);
        const running = this.#spawn(application.name, await application.command(this, directory));
        await this.untilListening(running, application.ports);
      }),
    );
  }

  /** What the command printed, without the last newline. An exit code other than 0 is an error that shows stderr. */
  async run(command: string, ...args: string[]): Promise<string> {
    const result = await this.attempt(command, ...args);
    if (result.code !== 0) {
      const why = `${result.signal ?? `exit code ${result.code}`}\n${result.stderr}${result.stdout}`;
      throw new Error(`${this.name}: ${command} ${args.join(" ")}: ${why}`);
    }
    return result.stdout;
  }

  /** As `run`, for commands that may fail. */
  async attempt(command: string, ...args: string[]): Promise<Result> {
    const running = await this.start(command, ...args);
    running.endInput();
    const timer = setTimeout(() => running.kill("SIGKILL"), 2 * patienceMs);
    const exit = await running.exited;
    clearTimeout(timer);
    return { ...exit, stdout: running.stdout.items.join("\n"), stderr: running.stderr.join("\n") };
  }

  /** Starts a program and returns at once. */
  async start(command: string, ...args: string[]): Promise<RunningProcess> {
    await this.site.up();
    return this.#spawn(command, [command, ...args]);
  }

  /** A socket in this host whose every call the test makes. */
  async socket(): Promise<RemoteSocket> {
    return new RemoteSocket(await this.start(await tool("socket")));
  }

  /** A socket of a process of another cgroup in this host's namespace, as one of a privileged container or of the node. */
  async socketOf(cgroup: string): Promise<RemoteSocket> {
    await this.site.up();
    const place = { cgroup, netns: this.namespace.path };
    return new RemoteSocket(new RunningProcess(`stranger in ${this.name}`, [await tool("socket")], place));
  }

  /** A listening socket: on all addresses of both families unless told. */
  async listen(port: number, address = "::"): Promise<RemoteSocket> {
    const socket = await this.socket();
    await socket.listen(address, port);
    return socket;
  }

  #spawn(name: string, command: readonly string[]): RunningProcess {
    return new RunningProcess(`${name} in ${this.name}`, command, {
      cgroup: this.cgroup,
      netns: this.namespace.path,
    });
  }

  /** Waits until the program listens on all of these ports. */
  async untilListening(running: RunningProcess, ports: readonly number[]): Promise<void> {
    const end = performance.now() + patienceMs;
    while (!ports.every((port) => this.namespace.listeningPorts().has(port))) {
      if (running.hasExited || performance.now() > end) {
        const output = [...running.stdout.items, ...running.stderr].join("\n  ");
        throw new Error(`${running.name} does not listen on ${ports.join(", ")}; its output:\n  ${output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5)); // No event tells that a foreign program listens.
    }
  }
}
