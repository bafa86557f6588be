// A runner that does not end: harness.test.ts kills it. Prints what must be gone afterwards.

import { globSync, readFileSync } from "node:fs";
import { nginx } from "./applications.ts";
import { Mesh } from "./mesh.ts";

const mesh = await Mesh.start();
mesh.node("a").pod("web").serve(nginx());
await mesh.up();
const pids = globSync(`${mesh.cgroup}/**/cgroup.procs`).flatMap((file) =>
  readFileSync(file, "utf8").trim().split("\n"),
);
console.log(JSON.stringify({ cgroup: mesh.cgroup, directory: mesh.directory, pids: pids.filter(Boolean).map(Number) }));
