// What a worker looks destinations up in: the mesh's snapshot, indexed, and changed by deltas. An endpoint that is still
// there after a change is the same object: a connection that was opened before it counts itself out of the endpoint that
// new connections are balanced by, and what is known of its health stays.
// Costs: bench/micro/address-table.ts and `npm run bench -- config`.

import type { IpAddress, IpFamily } from "./address.ts";
import { AddressTable } from "./address-table.ts";
import type { Balanced } from "./balance.ts";
import { type Endpoint, newEndpoint } from "./endpoint.ts";
import { changeOf, type MeshDelta } from "./mesh-delta.ts";
import type { Protocol } from "./protocol.ts";
import {
  ineligibility,
  labelOf,
  type MeshSnapshot,
  type Service,
  type ServicePort,
  targetPortOf,
  type Workload,
} from "./snapshot.ts";

/** A service's port in one family. Without endpoints, connections to it are refused, not passed on. */
export interface ServiceTarget extends Balanced {
  /** `namespace/name:port` */
  readonly name: string;
  readonly service: Service;
  readonly port: ServicePort;
}

/** A workload behind a service's port, used or not. */
export interface Candidate {
  readonly workload: Workload;
  readonly address: IpAddress;
  /** 0: it has none of that name. */
  readonly port: number;
  /** undefined: it gets no connection. */
  readonly endpoint: Endpoint | undefined;
  /** Why it gets none. */
  readonly because: string;
}

/** An endpoint and what the targets that it is in declare it to speak. */
interface Held {
  readonly endpoint: Endpoint;
  readonly declared: (Protocol | undefined)[];
}

const anyPort = 0;

export class MeshIndex {
  version: number;
  #node: string;
  #zone: string | undefined;
  readonly #workloads: Map<string, Workload>;
  readonly #workloadsByAddress: AddressTable<Workload>;
  readonly #targets: AddressTable<ServiceTarget>;
  /** By service. */
  readonly #targetsOf: Map<string, readonly ServiceTarget[]>;
  readonly #endpoints: AddressTable<Held>;

  constructor() {
    this.version = 0;
    this.#node = "";
    this.#zone = undefined;
    this.#workloads = new Map();
    this.#workloadsByAddress = new AddressTable();
    this.#targets = new AddressTable();
    this.#targetsOf = new Map();
    this.#endpoints = new AddressTable();
  }

  /** Of a whole mesh, at once. */
  static of(snapshot: MeshSnapshot): MeshIndex {
    const index = new MeshIndex();
    for (const delta of changeOf(undefined, snapshot).additions) index.apply(delta);
    return index;
  }

  /** The words of a v4-mapped address (address.ts), signed or not. */
  serviceAt(w0: number, w1: number, w2: number, w3: number, port: number): ServiceTarget | undefined {
    return this.#targets.get(w0, w1, w2, w3, port);
  }

  workloadAt(w0: number, w1: number, w2: number, w3: number): Workload | undefined {
    return this.#workloadsByAddress.get(w0, w1, w2, w3, anyPort);
  }

  /** The endpoint at that address of a workload, if a service has it. */
  endpointAt(w0: number, w1: number, w2: number, w3: number, port: number): Endpoint | undefined {
    return this.#endpoints.get(w0, w1, w2, w3, port)?.endpoint;
  }

  /** Everything behind a service's port. */
  candidatesOf({ service, port, endpoints }: ServiceTarget, family: IpFamily): Candidate[] {
    const held = new Map(endpoints.map((it) => [it.label, it]));
    return service.endpoints.map((label) => {
      const workload = this.#workloadOf(service, label);
      const address = addressIn(workload, family);
      return {
        workload,
        address,
        port: targetPortOf(workload, port) ?? 0,
        endpoint: held.get(label),
        because: ineligibility(workload, service, port) ?? "",
      };
    });
  }

  /** How many endpoints services lead to. */
  get heldEndpoints(): number {
    return this.#endpoints.size;
  }

  apply(delta: MeshDelta): void {
    this.version = delta.version;
    this.#node = delta.node;
    this.#zone = delta.zone;
    for (const workload of delta.workloads) this.#setWorkload(workload);
    for (const service of delta.services) this.#setService(service);
    for (const label of delta.removedServices) this.#removeService(label);
    for (const label of delta.removedWorkloads) this.#removeWorkload(label);
  }

  #setWorkload(workload: Workload): void {
    const label = labelOf(workload);
    const before = this.#workloads.get(label);
    this.#workloads.set(label, workload);
    if (before !== undefined) this.#forgetAddresses(before);
    for (const address of workload.addresses) this.#workloadsByAddress.set(address, anyPort, workload);
  }

  #removeWorkload(label: string): void {
    const workload = this.#workloads.get(label);
    if (workload === undefined) return;
    this.#workloads.delete(label);
    this.#forgetAddresses(workload);
  }

  /** An address may be another's by now. */
  #forgetAddresses(workload: Workload): void {
    for (const address of workload.addresses) {
      const [w0, w1, w2, w3] = address.words;
      if (this.workloadAt(w0, w1, w2, w3) === workload) this.#workloadsByAddress.delete(address, anyPort);
    }
  }

  #setService(service: Service): void {
    const label = labelOf(service);
    const before = this.#targetsOf.get(label);
    const workloads = service.endpoints.map((it) => this.#workloadOf(service, it));
    const targets = service.ports.flatMap((port) => this.#addTargets(service, port, workloads));
    this.#targetsOf.set(label, targets);
    // Afterwards: an endpoint that is in both stays the same object.
    if (before !== undefined) this.#forgetTargets(before);
  }

  #removeService(label: string): void {
    const targets = this.#targetsOf.get(label);
    if (targets === undefined) return;
    this.#targetsOf.delete(label);
    this.#forgetTargets(targets);
  }

  #forgetTargets(targets: readonly ServiceTarget[]): void {
    for (const target of targets) {
      for (const address of target.service.addresses) {
        const [w0, w1, w2, w3] = address.words;
        if (this.serviceAt(w0, w1, w2, w3, target.port.port) === target) {
          this.#targets.delete(address, target.port.port);
        }
      }
      for (const endpoint of target.endpoints) this.#releaseEndpoint(endpoint, target.port.protocol);
    }
  }

  #addTargets(service: Service, port: ServicePort, workloads: readonly Workload[]): ServiceTarget[] {
    const targets = new Map<IpFamily, ServiceTarget>();
    for (const address of service.addresses) {
      let target = targets.get(address.family);
      if (target === undefined) {
        const endpoints = workloads
          .filter((it) => ineligibility(it, service, port) === undefined)
          .map((it) => this.#holdEndpoint(it, address.family, targetPortOf(it, port)!, port.protocol));
        target = {
          name: `${labelOf(service)}:${port.port}`,
          service,
          port,
          endpoints,
          tiers: this.#tiersOf(endpoints, service),
          hasAffinity: service.hasAffinity,
        };
        targets.set(address.family, target);
      }
      this.#targets.set(address, port.port, target);
    }
    return [...targets.values()];
  }

  #tiersOf(endpoints: readonly Endpoint[], { preference }: Service): (readonly Endpoint[])[] {
    const nearness = ({ workload }: Endpoint) => {
      if (preference === "node" && workload.node === this.#node) return 0;
      if (preference !== "none" && workload.zone !== undefined && workload.zone === this.#zone) return 1;
      return 2;
    };
    return [0, 1, 2].map((tier) => endpoints.filter((it) => nearness(it) === tier)).filter((tier) => tier.length > 0);
  }

  #holdEndpoint(workload: Workload, family: IpFamily, port: number, protocol: Protocol | undefined): Endpoint {
    const address = addressIn(workload, family);
    const label = labelOf(workload);
    let held = this.#heldAt(address, port);
    // The same address under another name is another workload: what is still open to the old one is not its load.
    if (held?.endpoint.label === label) held.endpoint.workload = workload;
    else {
      held = { endpoint: newEndpoint(workload, address, port, label), declared: [] };
      this.#endpoints.set(address, port, held);
    }
    held.declared.push(protocol);
    held.endpoint.protocol = agreed(held.declared);
    return held.endpoint;
  }

  #releaseEndpoint(endpoint: Endpoint, protocol: Protocol | undefined): void {
    const held = this.#heldAt(endpoint.address, endpoint.port);
    if (held?.endpoint !== endpoint) return;
    held.declared.splice(held.declared.indexOf(protocol), 1);
    endpoint.protocol = agreed(held.declared);
    if (held.declared.length === 0) this.#endpoints.delete(endpoint.address, endpoint.port);
  }

  #heldAt(address: IpAddress, port: number): Held | undefined {
    const [w0, w1, w2, w3] = address.words;
    return this.#endpoints.get(w0, w1, w2, w3, port);
  }

  #workloadOf(service: Service, label: string): Workload {
    const workload = this.#workloads.get(label);
    if (workload === undefined) {
      throw new RangeError(
        `index mesh ${this.version}: service ${labelOf(service)} has ${label}, which is no workload`,
      );
    }
    return workload;
  }
}

/** In the family that was dialled, so that the application sees a peer of that family; else its first. */
function addressIn({ addresses }: Workload, family: IpFamily): IpAddress {
  return addresses.find((it) => it.family === family) ?? addresses[0]!;
}

function agreed(declared: readonly (Protocol | undefined)[]): Protocol | undefined {
  const [first] = declared;
  return declared.every((it) => it === first) ? first : undefined;
}
