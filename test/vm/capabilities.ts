// Whether each BPF object loads on the running kernel, by itself, and what the probes say.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { probeKernel } from "../../src/kernel/probes.ts";
import { bpfObjectsPath, native } from "../../src/runtime/native.ts";
import type { ReportOf } from "./report.ts";

export function loadObjects(): ReportOf<"object">[] {
  const names = readdirSync(bpfObjectsPath).filter((name) => name.endsWith(".bpf.o"));
  return names.sort().map((name) => ({ kind: "object", name, error: loadingError(join(bpfObjectsPath, name)) }));
}

function loadingError(path: string): string | undefined {
  try {
    const { programs, maps } = native.bpf("load", { objects: [path] });
    const descriptors = [...Object.values(programs), ...Object.values(maps).map(({ fd }) => fd)];
    for (const fd of descriptors) native.netns("close", { fd });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

export function probes(): ReportOf<"probe">[] {
  return probeKernel().map((probe) => ({ kind: "probe", probe }));
}
