// One workload or service of mesh.yaml, read from its own text, and what discovery remembers with it from load to load: an
// entry whose text did not change is the same object, and so is what was made of it.

import * as v from "valibot";
import type { Service, Workload } from "../mesh/snapshot.ts";
import { type ServiceEntry, service, type WorkloadEntry, workload } from "./mesh-schema.ts";
import type { ListName } from "./split-document.ts";
import { YamlSource } from "./yaml-source.ts";

export interface EntryOf<L extends ListName, Parsed, Made> {
  readonly list: L;
  readonly parsed: Parsed;
  /** In its list, as last loaded; negative: it is new. */
  position: number;
  /** By the last load in which it had a part. */
  made: Made | undefined;
}

export type EntryOfWorkload = EntryOf<"workloads", WorkloadEntry, Workload>;
export type EntryOfService = EntryOf<"services", ServiceEntry, Service>;
export type Entry = EntryOfWorkload | EntryOfService;

/** Of a text with its "-". Undefined: it is not well. */
export function readEntry(list: ListName, text: string): Entry | undefined {
  const source = new YamlSource(text);
  if (source.problems.length > 0 || !Array.isArray(source.value) || source.value.length !== 1) return undefined;
  const [value] = source.value as [unknown];
  if (list === "workloads") {
    const parsed = v.safeParse(workload, value);
    return parsed.success ? entryOfWorkload(parsed.output) : undefined;
  }
  const parsed = v.safeParse(service, value);
  return parsed.success ? entryOfService(parsed.output) : undefined;
}

export function entryOfWorkload(parsed: WorkloadEntry): EntryOfWorkload {
  return { list: "workloads", parsed, position: -1, made: undefined };
}

export function entryOfService(parsed: ServiceEntry): EntryOfService {
  return { list: "services", parsed, position: -1, made: undefined };
}
