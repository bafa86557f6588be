// A network between two pods of a node that rewrites the source of what one sends to the other, as some CNIs do
// (programs/rewrite-source.bpf.c): it comes from the pods' network's 253rd address, and answers to that find their way back.

import type { MeshNode } from "./mesh-node.ts";
import type { Pod } from "./pod.ts";
import { addressMacros, bpfTool } from "./tools.ts";

/** Returns the addresses that the server sees instead of the client's. */
export async function rewriteSources(node: MeshNode, client: Pod, server: Pod): Promise<[string, string]> {
  const aliases = [client.ipv4.replace(/\d+$/, "253"), client.ipv6.replace(/[\da-f]+$/, "fd")] as [string, string];
  const object = await bpfTool("rewrite-source", {
    ...addressMacros("CLIENT", [client.ipv4, client.ipv6]),
    ...addressMacros("SERVER", [server.ipv4, server.ipv6]),
    ...addressMacros("ALIAS", aliases),
  });
  const [link] = JSON.parse(await client.run("ip", "-json", "link", "show", "dev", "eth0")) as { address: string }[];
  await server.namespace.configure(
    aliases.map((alias) => `neigh replace ${alias} lladdr ${link!.address} dev eth0 nud permanent`),
  );
  await node.namespace.configure(
    [
      { port: node.portOf(client), program: "from_client" },
      { port: node.portOf(server), program: "from_server" },
    ].flatMap(({ port, program }) => [
      `qdisc add dev ${port} clsact`,
      `filter add dev ${port} ingress bpf direct-action object-file ${object} section ${program}`,
    ]),
    "tc",
  );
  return aliases;
}
