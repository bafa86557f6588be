// A strict client, a permissive one, and a service: what tests of a proxy in trouble look at.

import { echo } from "./applications.ts";
import type { Mesh } from "./mesh.ts";
import type { MeshNode } from "./mesh-node.ts";
import type { Pod } from "./pod.ts";
import type { Service } from "./service.ts";

export interface Guarded {
  readonly node: MeshNode;
  readonly strict: Pod;
  readonly permissive: Pod;
  readonly service: Service;
}

export async function startGuarded(mesh: Mesh): Promise<Guarded> {
  const node = mesh.node("a");
  const strict = node.pod("strict", { whenProxyDown: "deny" });
  const permissive = node.pod("permissive");
  const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
  await mesh.up();
  return { node, strict, permissive, service };
}
