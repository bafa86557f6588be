// Which workloads are behind which service, kept from load to load: a workload or a service more or less costs as much as
// what it has to do with, and not thousands of selectors over thousands of workloads.

import { labelOf } from "../mesh/snapshot.ts";
import type { EntryOfService, EntryOfWorkload } from "./entry.ts";
import { resolveLabel } from "./mesh-references.ts";

export class Backing {
  readonly #workloads: Map<string, EntryOfWorkload>;
  readonly #labelled: Lists<EntryOfWorkload>;
  /** By the first label of the selector. */
  readonly #selecting: Lists<EntryOfService>;
  /** By the workload that is listed. */
  readonly #listing: Lists<EntryOfService>;

  constructor() {
    this.#workloads = new Map();
    this.#labelled = new Lists();
    this.#selecting = new Lists();
    this.#listing = new Lists();
  }

  addWorkload(workload: EntryOfWorkload): void {
    this.#workloads.set(labelOf(workload.parsed), workload);
    for (const place of labelPlaces(workload)) this.#labelled.add(place, workload);
  }

  removeWorkload(workload: EntryOfWorkload): void {
    this.#workloads.delete(labelOf(workload.parsed));
    for (const place of labelPlaces(workload)) this.#labelled.remove(place, workload);
  }

  addService(service: EntryOfService): void {
    const { selector } = service.parsed;
    if (selector !== undefined) this.#selecting.add(selectorPlaces(service)[0]!, service);
    else for (const label of listedBy(service)) this.#listing.add(label, service);
  }

  removeService(service: EntryOfService): void {
    const { selector } = service.parsed;
    if (selector !== undefined) this.#selecting.remove(selectorPlaces(service)[0]!, service);
    else for (const label of listedBy(service)) this.#listing.remove(label, service);
  }

  /** Services that the workload is, or would be, behind. */
  servicesOf(workload: EntryOfWorkload): EntryOfService[] {
    const selecting = labelPlaces(workload).flatMap((place) => this.#selecting.at(place));
    return [...selecting.filter((it) => selects(it, workload)), ...this.#listing.at(labelOf(workload.parsed))];
  }

  /** In the order of the workloads' or of the service's list. Undefined: it lists what is no workload, or one twice. */
  behind(service: EntryOfService): readonly EntryOfWorkload[] | undefined {
    if (service.parsed.selector === undefined) {
      const labels = new Set(listedBy(service));
      const found = [...labels].flatMap((label) => this.#workloads.get(label) ?? []);
      return found.length === service.parsed.endpoints?.length ? found : undefined;
    }
    let rarest: readonly EntryOfWorkload[] | undefined;
    for (const place of selectorPlaces(service)) {
      const there = this.#labelled.at(place);
      if (rarest === undefined || there.length < rarest.length) rarest = there;
    }
    return rarest!.filter((it) => selects(service, it)).sort((a, b) => a.position - b.position);
  }
}

/** Labels of the workloads that the service lists. */
export function listedBy({ parsed }: EntryOfService): string[] {
  return (parsed.endpoints ?? []).map(({ workload }) => resolveLabel(workload, parsed.namespace));
}

function selects({ parsed: { namespace, selector } }: EntryOfService, { parsed }: EntryOfWorkload): boolean {
  return (
    namespace === parsed.namespace && Object.entries(selector!).every(([key, value]) => parsed.labels[key] === value)
  );
}

function labelPlaces({ parsed }: EntryOfWorkload): string[] {
  return placesOf(parsed.namespace, parsed.labels);
}

function selectorPlaces({ parsed }: EntryOfService): string[] {
  return placesOf(parsed.namespace, parsed.selector!);
}

function placesOf(namespace: string, labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).map(([key, value]) => `${namespace} ${key} ${value}`);
}

class Lists<T> {
  readonly #lists: Map<string, T[]>;

  constructor() {
    this.#lists = new Map();
  }

  at(key: string): readonly T[] {
    return this.#lists.get(key) ?? [];
  }

  add(key: string, item: T): void {
    const list = this.#lists.get(key);
    if (list === undefined) this.#lists.set(key, [item]);
    else list.push(item);
  }

  remove(key: string, item: T): void {
    const list = this.#lists.get(key)!;
    list.splice(list.indexOf(item), 1);
    if (list.length === 0) this.#lists.delete(key);
  }
}
