// `config`: what a large mesh.yaml costs. A node with two pods takes over 10,000 workloads and 5,000 services of other nodes,
// then one changed endpoint, time after time. Times are from SIGHUP to the line in the log that says it is in force, memory
// is the process's. How long a worker stands still is measured in a thread that does with the changes what a worker does.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { workerLimits } from "../../src/app/worker-limits.ts";
import { parseMesh } from "../../src/discovery/file-source.ts";
import { changeOf, type MeshChange } from "../../src/mesh/mesh-delta.ts";
import { echo } from "../../test/netns/harness/applications.ts";
import type { Culvert } from "../../test/netns/harness/culvert.ts";
import { Mesh } from "../../test/netns/harness/mesh.ts";
import type { SampleBook } from "../figures.ts";

export interface ConfigSettings {
  readonly rounds: number;
  readonly workloads: number;
  readonly services: number;
  /** Single endpoints that change, one after another, in each round. */
  readonly changes: number;
}

const subject = "culvert";
const bytesPerMegabyte = 1e6;

export async function measureConfig(
  settings: ConfigSettings,
  book: SampleBook,
  progress: (line: string) => void,
): Promise<void> {
  for (let round = 0; round < settings.rounds; round++) {
    await measureNode(settings, book);
    await measureStalls(settings, book);
    progress(`round ${round + 1} of ${settings.rounds}`);
  }
}

async function measureNode(settings: ConfigSettings, book: SampleBook): Promise<void> {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("server").serve(echo(7000));
  mesh.service("echo", { port: 7000, endpoints: [server] });
  const culvert = await node.culvert({ workers: 2 });
  await client.socket().then((socket) => socket.connect(server.ipv4, 7000));
  const small = readFileSync(node.meshFile, "utf8");
  const before = culvert.residentBytes();
  book.add("config_apply_all_ms", "ms", subject, await reload(culvert, node.meshFile, enlarged(small, settings, 0)));
  for (let change = 1; change <= settings.changes; change++) {
    const took = await reload(culvert, node.meshFile, enlarged(small, settings, change));
    book.add("config_apply_one_ms", "ms", subject, took);
  }
  book.add("config_more_memory_mb", "MB", subject, (culvert.residentBytes() - before) / bytesPerMegabyte);
}

async function reload(culvert: Culvert, path: string, text: string): Promise<number> {
  writeFileSync(`${path}.next`, text);
  let start = 0;
  await culvert.reloaded(
    () => {
      renameSync(`${path}.next`, path);
      start = performance.now();
    },
    { patienceMs: 120_000 },
  );
  return performance.now() - start;
}

/** How long a thread that applies the changes cannot do anything else at a stretch. */
async function measureStalls(settings: ConfigSettings, book: SampleBook): Promise<void> {
  setFlagsFromString("--no-parallel-scavenge"); // As bin/culvert has it.
  const small = "node: { name: a, cgroups: { pods: /p } }\nworkloads:\nservices:\n";
  const [none, all, one] = [
    parseMesh(small.replace("workloads:\nservices:\n", ""), "mesh.yaml"),
    parseMesh(enlarged(small, settings, 0), "mesh.yaml"),
    parseMesh(enlarged(small, settings, 1), "mesh.yaml"),
  ];
  const worker = new Worker(new URL("./config-worker.ts", import.meta.url), { resourceLimits: workerLimits });
  const stall = async ({ additions, removals }: MeshChange) => {
    let longestMs = 0;
    for (const delta of [...additions, ...removals]) {
      const { promise, resolve } = Promise.withResolvers<number>();
      worker.once("message", resolve);
      worker.postMessage(delta);
      longestMs = Math.max(longestMs, await promise);
    }
    return longestMs;
  };
  // As on a node: its worker has applied a mesh before, the small one it started with.
  for (let warmup = 0; warmup < 3; warmup++) await stall(changeOf(none.snapshot, one.snapshot));
  await stall(changeOf(one.snapshot, none.snapshot));
  book.add("config_worker_stall_all_ms", "ms", subject, await stall(changeOf(none.snapshot, all.snapshot)));
  book.add("config_worker_stall_one_ms", "ms", subject, await stall(changeOf(all.snapshot, one.snapshot)));
  await worker.terminate();
}

/** With so many workloads and services more; two workloads behind each service, of which one has moved `changes` times. */
function enlarged(text: string, { workloads, services }: ConfigSettings, changes: number): string {
  const at = text.indexOf("services:\n");
  const isMoved = (i: number) => i === workloads >> 1 && changes > 0;
  const workload = (i: number) => `  - name: large-${i}
    namespace: large
    node: node-${i % 100}
    serviceAccount: account-${i % 200}
    addresses:
      - ${isMoved(i) ? `10.200.${changes >> 8}.${changes & 255}` : `10.${128 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`}
    labels:
      app: app-${i % services}
`;
  const service = (i: number) => `  - name: large-${i}
    namespace: large
    addresses:
      - 10.97.${i >> 8}.${i & 255}
    ports:
      - port: 80
        targetPort: 8080
    selector:
      app: app-${i}
`;
  const list = (count: number, entry: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => entry(i)).join("");
  return text.slice(0, at) + list(workloads, workload) + text.slice(at) + list(services, service);
}
