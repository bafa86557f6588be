// What a worker looks destinations up in, built from a MeshSnapshot and never changed afterwards. An endpoint that is still
// there in the next index is the same object, so a connection that was opened under an old snapshot counts itself out of
// the endpoint that new connections are balanced by.
// 10,000 workloads behind 1,000 services: some 20 ms of CPU the first time, 5 when compiled; bench/micro/address-table.ts.

import type { IpAddress, IpFamily } from "./address.ts";
import { AddressTable } from "./address-table.ts";
import type { Protocol } from "./protocol.ts";
import { labelOf, type MeshSnapshot, type Service, type ServicePort, type Workload } from "./snapshot.ts";

/** A workload's address:port. One object however many services it is behind: its load is theirs together. */
export interface Endpoint {
  readonly workload: Workload;
  readonly address: IpAddress;
  readonly port: number;
  /** `namespace/name` of the workload. */
  readonly label: string;
  /** Declared by all services that it is behind. */
  readonly protocol: Protocol | undefined;
  /** Of this worker; whoever opens and closes connections counts them. */
  openConnections: number;
}

export interface ServiceTarget {
  /** `namespace/name:port` */
  readonly name: string;
  /** Declared. */
  readonly protocol: Protocol | undefined;
  /** Empty when the service has none: connections to it are refused, not passed on. */
  readonly endpoints: readonly Endpoint[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const anyPort = 0;

export class MeshIndex {
  readonly version: number;
  readonly #services: AddressTable<ServiceTarget>;
  readonly #workloads: AddressTable<Workload>;
  readonly #endpoints: AddressTable<Endpoint>;

  constructor(snapshot: MeshSnapshot, previous?: MeshIndex) {
    this.version = snapshot.version;
    this.#workloads = new AddressTable(snapshot.workloads.length);
    this.#services = new AddressTable(snapshot.services.length);
    this.#endpoints = new AddressTable(snapshot.workloads.length);
    for (const workload of snapshot.workloads) {
      for (const address of workload.addresses) this.#workloads.set(address, anyPort, workload);
    }
    for (const service of snapshot.services) {
      const workloads = service.endpoints.map((index) => workloadOf(snapshot, service, index));
      for (const port of service.ports) this.#addService(service, port, workloads, previous);
    }
  }

  /** The words of a v4-mapped address (address.ts), signed or not. */
  serviceAt(w0: number, w1: number, w2: number, w3: number, port: number): ServiceTarget | undefined {
    return this.#services.get(w0, w1, w2, w3, port);
  }

  workloadAt(w0: number, w1: number, w2: number, w3: number): Workload | undefined {
    return this.#workloads.get(w0, w1, w2, w3, anyPort);
  }

  /** The endpoint at that address of a workload, if a service has it. */
  endpointAt(w0: number, w1: number, w2: number, w3: number, port: number): Endpoint | undefined {
    return this.#endpoints.get(w0, w1, w2, w3, port);
  }

  #addService(
    service: Service,
    port: ServicePort,
    workloads: readonly Workload[],
    previous: MeshIndex | undefined,
  ): void {
    const targets = new Map<IpFamily, ServiceTarget>();
    for (const address of service.addresses) {
      let target = targets.get(address.family);
      if (target === undefined) {
        const endpoints = workloads.map((it) => this.#endpoint(it, address.family, port, previous));
        target = { name: `${labelOf(service)}:${port.port}`, protocol: port.protocol, endpoints };
        targets.set(address.family, target);
      }
      this.#services.set(address, port.port, target);
    }
  }

  /** The workload's address in the family that was dialled, so that the application sees a peer of that family; else its first. */
  #endpoint(
    workload: Workload,
    family: IpFamily,
    { targetPort: port, protocol }: ServicePort,
    previous: MeshIndex | undefined,
  ): Endpoint {
    const address = workload.addresses.find((it) => it.family === family) ?? workload.addresses[0]!;
    const [w0, w1, w2, w3] = address.words;
    const known: Mutable<Endpoint> | undefined = this.#endpoints.get(w0, w1, w2, w3, port);
    if (known !== undefined) {
      if (known.protocol !== protocol) known.protocol = undefined;
      return known;
    }
    const label = labelOf(workload);
    const kept = previous === undefined ? undefined : previous.#endpoints.get(w0, w1, w2, w3, port);
    let endpoint: Mutable<Endpoint> | undefined = kept;
    // The same address under another name is another workload: what is still open to the old one is not its load.
    if (endpoint?.label === label) {
      endpoint.workload = workload;
      endpoint.protocol = protocol;
    } else endpoint = { workload, address, port, label, protocol, openConnections: 0 };
    this.#endpoints.set(address, port, endpoint);
    return endpoint;
  }
}

function workloadOf(snapshot: MeshSnapshot, service: Service, index: number): Workload {
  const workload = snapshot.workloads[index];
  if (workload === undefined) {
    throw new RangeError(
      `index snapshot ${snapshot.version}: service ${labelOf(service)} has workload ${index} of ${snapshot.workloads.length}`,
    );
  }
  return workload;
}
