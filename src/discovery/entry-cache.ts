// Entries of mesh.yaml's lists that were read before, by their text: what did not change is not read again, and is the same
// object, by which whoever compares configurations sees at once that nothing changed.

import * as v from "valibot";
import { type ServiceEntry, service, type WorkloadEntry, workload } from "./mesh-schema.ts";
import type { ListName } from "./split-document.ts";
import { YamlSource } from "./yaml-source.ts";

export interface Entry<T> {
  /** As YAML has it. */
  readonly value: unknown;
  readonly parsed: T;
}

interface Kinds {
  workloads: WorkloadEntry;
  services: ServiceEntry;
}

const schemas = { workloads: workload, services: service };

export class EntryCache {
  readonly #entries: { readonly [K in ListName]: Map<string, Entry<Kinds[K]>> };

  constructor() {
    this.#entries = { workloads: new Map(), services: new Map() };
  }

  /** In their order. Undefined: at least one is not well; nothing is learned then. */
  read<K extends ListName>(list: K, texts: readonly string[]): readonly Entry<Kinds[K]>[] | undefined {
    const before: ReadonlyMap<string, Entry<Kinds[K]>> = this.#entries[list];
    const after = new Map<string, Entry<Kinds[K]>>();
    const entries: Entry<Kinds[K]>[] = [];
    for (const text of texts) {
      // Two alike would be one object, with one name: which is an error, but not this one's to tell.
      const entry = before.get(text) ?? read(list, text);
      if (entry === undefined) return undefined;
      after.set(text, entry);
      entries.push(entry);
    }
    // The new texts are keys: a text that is kept keeps all of the file that it is part of.
    this.#entries[list].clear();
    for (const [text, entry] of after) this.#entries[list].set(text, entry);
    return entries;
  }
}

function read<K extends ListName>(list: K, text: string): Entry<Kinds[K]> | undefined {
  const source = new YamlSource(text);
  if (source.problems.length > 0 || !Array.isArray(source.value) || source.value.length !== 1) return undefined;
  const [value] = source.value as [unknown];
  const parsed = v.safeParse(schemas[list], value);
  return parsed.success ? { value, parsed: parsed.output as Kinds[K] } : undefined;
}

export function valuesOf(entries: readonly Entry<unknown>[]): unknown[] {
  return entries.map(({ value }) => value);
}

export function parsedOf<T>(entries: readonly Entry<T>[]): T[] {
  return entries.map(({ parsed }) => parsed);
}
