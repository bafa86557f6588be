// A node: a network namespace with bridges, for its pods, for pods of other nodes and for hosts outside the mesh, that routes
// between them; and the Culvert process that runs on it.

import { join } from "node:path";
import { Culvert, type CulvertOptions, type LogEvent } from "./culvert.ts";
import { type Addresses, Host, type Result, type Site } from "./host.ts";
import { HostNetwork } from "./host-network.ts";
import { writeMeshFile } from "./mesh-file.ts";
import { Namespace } from "./namespace.ts";
import { Pod, type PodOptions } from "./pod.ts";
import type { RunDirectory } from "./run-directory.ts";
import { RunningProcess } from "./running-process.ts";
import type { Service } from "./service.ts";
import { projectRoot } from "./tools.ts";

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Words before the command: programs that run it with less than all there is. */
  readonly through?: readonly string[];
}

export interface NodeOptions {
  readonly zone?: string;
}

/** The mesh that a node is part of, as far as it must know it. */
export interface Surroundings {
  readonly directory: RunDirectory;
  readonly site: Site;
  readonly services: ReadonlyMap<string, Service>;
  /** All nodes, this one among them. */
  readonly nodes: ReadonlyMap<string, MeshNode>;
}

export class MeshNode {
  readonly name: string;
  readonly zone: string | undefined;
  /** In the network that joins the nodes. */
  readonly addresses: Addresses;
  readonly #directory: RunDirectory;
  readonly #site: Site;
  readonly #services: ReadonlyMap<string, Service>;
  readonly #nodes: ReadonlyMap<string, MeshNode>;
  readonly #pods: HostNetwork;
  readonly #elsewhere: HostNetwork;
  readonly #outside: HostNetwork;
  readonly #processes: Host[] = [];
  readonly #hostNetwork: Host[] = [];
  readonly #started: Culvert[] = [];
  /** The node's ends of its hosts' links. */
  readonly #ports = new Map<Host, string>();
  #options: CulvertOptions = {};
  #namespace: Namespace | undefined;

  constructor(name: string, index: number, options: NodeOptions, surroundings: Surroundings) {
    this.name = name;
    this.zone = options.zone;
    this.#directory = surroundings.directory;
    this.#site = surroundings.site;
    this.#services = surroundings.services;
    this.#nodes = surroundings.nodes;
    const subnet = index + 1;
    this.addresses = { ipv4: `198.51.100.${subnet}`, ipv6: `2001:db8:ffff::${subnet}` };
    this.#pods = new HostNetwork("pods", `10.244.${subnet}.`, `fd00:244:${subnet}::`);
    this.#elsewhere = new HostNetwork("elsewhere", `10.244.${subnet + 100}.`, `fd00:244:${subnet + 100}::`);
    this.#outside = new HostNetwork("outside", "192.0.2.", `2001:db8:${subnet}::`);
  }

  /** The pod of that name: declared by the first call. A Culvert that runs learns of it by `reload`. */
  pod(name: string, options: PodOptions = {}): Pod {
    const make = (addresses: Addresses) =>
      new Pod(name, this.name, addresses, this.#directory.makeCgroup(this.name, "pods", name), this.#site, options);
    return this.#pods.host(name, make, options.families);
  }

  /** A host that the mesh knows nothing of, a router away. */
  outside(name: string): Host {
    return this.#strangerIn(this.#outside, name);
  }

  /** A pod of another node, a router away, that mesh.yaml does not name: it has an address of the pod CIDR. */
  elsewhere(name: string): Host {
    return this.#strangerIn(this.#elsewhere, name);
  }

  #strangerIn(network: HostNetwork, name: string): Host {
    return network.host(
      name,
      (addresses) => new Host(name, addresses, this.#directory.makeCgroup("outside", name), this.#site),
    );
  }

  /** Programs of the node itself, in its own namespace and in a cgroup of that name. */
  process(name: string): Host {
    const declared = this.#processes.find((host) => host.name === name);
    if (declared !== undefined) return declared;
    const host = new Host(name, this.#pods.gateway, this.#directory.makeCgroup(this.name, "host", name), this.#site);
    if (this.#namespace !== undefined) host.build(this.#namespace);
    this.#processes.push(host);
    return host;
  }

  get #networks(): readonly HostNetwork[] {
    return [this.#pods, this.#elsewhere, this.#outside];
  }

  /** A pod in the node's own network namespace (hostNetwork): its address is the node's on the pods' bridge. */
  hostNetwork(name: string): Host {
    const cgroup = this.#directory.makeCgroup(this.name, "pods", name);
    const host = new Host(name, this.#pods.gateway, cgroup, this.#site);
    this.#hostNetwork.push(host);
    return host;
  }

  get pods(): readonly Pod[] {
    return this.#pods.hosts.filter((host) => host instanceof Pod);
  }

  get podsCgroup(): string {
    return this.#directory.makeCgroup(this.name, "pods");
  }

  /** A cgroup that is not below the pods'. */
  get otherCgroup(): string {
    return this.#directory.makeCgroup(this.name, "other");
  }

  /** Where this node's Culvert pins its BPF objects. */
  get pins(): string {
    return `${this.#directory.pins}/${this.name}`;
  }

  get namespace(): Namespace {
    if (this.#namespace === undefined) throw new Error(`${this.name} is not up yet; await mesh.up() before`);
    return this.#namespace;
  }

  /** The node's end of a host's link. */
  portOf(host: Host): string {
    const port = this.#ports.get(host);
    if (port === undefined) throw new Error(`${host.name} is not up yet; await mesh.up() before`);
    return port;
  }

  /** Starts Culvert on this node and waits until every pod is captured. */
  async culvert(options: CulvertOptions = {}): Promise<Culvert> {
    const culvert = await this.startCulvert(options);
    await culvert.ready();
    return culvert;
  }

  /** As `culvert`, but returns when the process is started. `meshFile`: one of the test's own instead of the mesh's. */
  async startCulvert(options: CulvertOptions & { meshFile?: string } = {}): Promise<Culvert> {
    await this.#site.up();
    this.#options = options;
    const meshFile = options.meshFile ?? this.writeMesh(options);
    // Started in a cgroup of the mesh, so that the reaper finds it; it enters its own by itself.
    const place = { cgroup: this.#directory.makeCgroup(this.name, "culvert"), netns: this.#namespace!.path };
    const culvert = new Culvert(meshFile, this.socket, { ...place, env: options.env ?? {} }, options.softDescriptors);
    this.#started.push(culvert);
    return culvert;
  }

  /** Tells the Culvert that runs what is declared now, and `options` in place of those before; waits until it is in force. */
  async reload(options: CulvertOptions = {}): Promise<LogEvent> {
    await this.#site.up();
    this.#options = { ...this.#options, ...options };
    return this.#started.at(-1)!.reloaded(() => void this.writeMesh(this.#options));
  }

  /** Writes this node's mesh.yaml, without starting Culvert; its path. The mesh must be up. */
  writeMesh(options: CulvertOptions = {}): string {
    const nodes = [...this.#nodes.values()];
    const zones = new Map(nodes.flatMap(({ name, zone }) => (zone === undefined ? [] : [[name, zone] as const])));
    writeMeshFile(this.meshFile, {
      node: this.name,
      cgroups: { pods: this.podsCgroup, proxy: this.#directory.makeCgroup(this.name, "proxy") },
      socket: this.socket,
      pins: this.pins,
      pods: nodes.flatMap(({ pods }) => pods),
      ...(zones.size > 0 && { zones }),
      services: this.#services,
      options,
    });
    return this.meshFile;
  }

  /** Takes a pod's namespace and link away, as a container runtime does. The test has killed its programs before. */
  async takeAway(pod: Pod): Promise<void> {
    await pod.namespace.end();
    await this.#namespace!.configure([`link delete ${this.portOf(pod)}`]);
  }

  /** Runs `culvert uninstall`, for this node unless told otherwise, which must have been started before. */
  async uninstall(...options: string[]): Promise<Result> {
    return this.command(["uninstall", ...(options.length > 0 ? options : ["--config", this.meshFile])]);
  }

  /** Runs a `culvert` command, which asks this node unless told otherwise. */
  async command(args: readonly string[], how: CommandOptions = {}): Promise<Result> {
    const command = [...(how.through ?? []), join(projectRoot, "bin/culvert"), ...args];
    const running = new RunningProcess(`culvert ${args[0]}`, command, {
      cgroup: this.#directory.makeCgroup(this.name, "command"),
      // Half of a command's time is Node's own reading of the sources.
      env: { CULVERT_SOCKET: this.socket, NODE_COMPILE_CACHE: join(projectRoot, "build/test/compiled"), ...how.env },
    });
    running.endInput();
    const exit = await running.exited;
    return { ...exit, stdout: running.stdout.items.join("\n"), stderr: running.stderr.join("\n") };
  }

  /** The report of a command that must not fail, out of its `-o json`. */
  async report<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.command([...args, "-o", "json"]);
    if (code !== 0) throw new Error(`culvert ${args.join(" ")}: exit code ${code}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as T;
  }

  /** Of the admin server. */
  get socket(): string {
    return `${this.#directory.path}/${this.name}.sock`;
  }

  get meshFile(): string {
    return `${this.#directory.path}/${this.name}.yaml`;
  }

  /** Culvert processes that ended although nobody asked for it. */
  get crashed(): readonly Culvert[] {
    return this.#started.filter((culvert) => culvert.hasCrashed);
  }

  /** For the mesh: builds what was declared since the last call. */
  async build(): Promise<void> {
    const holders = this.#directory.makeCgroup("holders");
    if (this.#namespace === undefined) {
      this.#namespace = await Namespace.create(this.name, holders, { forwards: true });
      await this.#namespace.configure(this.#networks.flatMap(({ bridgeLines }) => bridgeLines));
      for (const host of this.#processes) host.build(this.#namespace);
    }
    const node = this.#namespace;
    for (const host of this.#hostNetwork) host.build(node);
    const links: string[] = [];
    const unconfigured: [Host, HostNetwork][] = [];
    await Promise.all(
      this.#networks.flatMap((network) =>
        network.hosts
          .filter((host) => !host.isBuilt && !host.isHeldBack)
          .map(async (host) => {
            host.build(await Namespace.create(host.name, holders, { forwards: false }));
            const port = `v${this.#ports.size}`;
            this.#ports.set(host, port);
            links.push(
              `link add ${port} master ${network.bridge} type veth peer name eth0 netns ${host.namespace.pid}`,
              `link set ${port} up`,
            );
            unconfigured.push([host, network]);
          }),
      ),
    );
    await node.configure(links);
    await Promise.all(
      unconfigured.map(([host, network]) => host.namespace.configure(network.hostLines(host.addresses))),
    );
  }

  /** For the mesh: joins the node to the network between nodes, and routes to the pods of the others. */
  async join(underlay: Namespace): Promise<void> {
    const { ipv4, ipv6 } = this.addresses;
    const port = `to-${this.name}`;
    await this.#namespace!.configure([
      `link add uplink type veth peer name ${port} netns ${underlay.pid}`,
      `address add ${ipv4}/24 dev uplink`,
      `address add ${ipv6}/64 dev uplink nodad`,
      "link set uplink up",
      ...[...this.#nodes.values()]
        .filter((node) => node !== this)
        .flatMap((node) => [
          `route add ${node.#pods.ipv4Prefix}0/24 via ${node.addresses.ipv4}`,
          `route add ${node.#pods.ipv6Prefix}/64 via ${node.addresses.ipv6}`,
        ]),
    ]);
    await underlay.configure([`link set ${port} master underlay`, `link set ${port} up`]);
  }

  /** For the mesh: a service's address leads to one endpoint, as kube-proxy would have it. */
  async route(service: Service): Promise<void> {
    const [endpoint] = service.endpoints;
    if (endpoint === undefined) return; // It leads nowhere.
    const families = [4, 6] as const;
    const held = families.flatMap((family) => service.addressOf(family) ?? []);
    const isOwn = endpoint.node === this.name;
    if (isOwn) await endpoint.namespace.configure(held.map((address) => `address replace ${address} dev lo`));
    const next = isOwn ? endpoint.addresses : this.#nodes.get(endpoint.node)!.addresses;
    await this.#namespace!.configure(
      families.flatMap((family) => {
        const address = service.addressOf(family);
        const via = family === 4 ? next.ipv4 : next.ipv6;
        return address === undefined || via === undefined ? [] : [`route replace ${address} via ${via}`];
      }),
    );
  }

  async startApplications(): Promise<void> {
    const networked = this.#networks.flatMap((network) => network.hosts);
    const hosts = [...networked, ...this.#processes, ...this.#hostNetwork].filter((host) => host.isBuilt);
    await Promise.all(hosts.map((host) => host.startApplications()));
  }
}
