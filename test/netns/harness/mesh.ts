// A mesh on this machine, in network namespaces and cgroups of its own, so that any number of them run side by side:
//
//   await using mesh = await Mesh.start();
//   const node = mesh.node("a");
//   const client = node.pod("client");
//   const web = mesh.service("web", { port: 80, endpoints: [node.pod("web-1").serve(nginx())] });
//   const culvert = await node.culvert();
//   await client.run("curl", "-s", `http://${web.ipv4}/`);
//
// Declarations are built by the first action that needs them. Nothing is left behind, even by kill -9 (reaper.sh).

import type { Site } from "./host.ts";
import { MeshNode, type NodeOptions } from "./mesh-node.ts";
import { Namespace } from "./namespace.ts";
import { RunDirectory } from "./run-directory.ts";
import { Service, type ServiceOptions } from "./service.ts";

export class Mesh implements AsyncDisposable {
  readonly #directory = new RunDirectory();
  readonly #nodes = new Map<string, MeshNode>();
  readonly #services = new Map<string, Service>();
  readonly #unrouted: Service[] = [];
  /** What joins the nodes, when there are several. */
  #underlay: Namespace | undefined;
  #building: Promise<void> = Promise.resolve();

  static async start(): Promise<Mesh> {
    if (process.getuid?.() !== 0) throw new Error("network namespaces and cgroups need root; run the tests as root");
    return new Mesh();
  }

  /** The node of that name: declared by the first call. Nodes reach each other. All are declared before `up`. */
  node(name: string, options: NodeOptions = {}): MeshNode {
    const declared = this.#nodes.get(name);
    if (declared !== undefined) return declared;
    if (this.#underlay !== undefined) throw new Error(`declare node ${name} before the mesh is up`);
    const site: Site = {
      up: () => this.up(),
      makeDirectory: (...names) => this.#directory.makeDirectory(...names),
    };
    const surroundings = { directory: this.#directory, site, services: this.#services, nodes: this.#nodes };
    const node = new MeshNode(name, this.#nodes.size, options, surroundings);
    this.#nodes.set(name, node);
    return node;
  }

  service(name: string, options: ServiceOptions): Service {
    const service = new Service(name, this.#services.size + 10, options);
    this.#services.set(name, service);
    this.#unrouted.push(service);
    return service;
  }

  /** Builds what was declared since the last call. */
  up(): Promise<void> {
    this.#building = this.#building.then(async () => {
      const nodes = [...this.#nodes.values()];
      await Promise.all(nodes.map((node) => node.build()));
      if (nodes.length > 1) await this.#join(nodes);
      for (const service of this.#unrouted.splice(0)) {
        await Promise.all(nodes.map((node) => node.route(service)));
      }
      await Promise.all(nodes.map((node) => node.startApplications()));
    });
    return this.#building;
  }

  async #join(nodes: readonly MeshNode[]): Promise<void> {
    if (this.#underlay !== undefined) return;
    const holders = this.#directory.makeCgroup("holders");
    const underlay = await Namespace.create("underlay", holders, { forwards: false });
    this.#underlay = underlay;
    await underlay.configure(["link add underlay type bridge mcast_snooping 0", "link set underlay up"]);
    for (const node of nodes) await node.join(underlay);
  }

  /** A directory of this mesh, removed with it. */
  get directory(): string {
    return this.#directory.path;
  }

  get cgroup(): string {
    return this.#directory.cgroup;
  }

  /** A cgroup below `cgroup`; made if missing. */
  makeCgroup(...names: string[]): string {
    return this.#directory.makeCgroup(...names);
  }

  /** Fails if a Culvert of this mesh ended although nobody asked for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const crashed = [...this.#nodes.values()].flatMap((node) => node.crashed);
    await this.#directory.remove();
    for (const culvert of crashed) throw new Error(`culvert ended by itself: ${culvert.lastWords}`);
  }
}
