// Cilium and Calico balance services in connect(), by programs on the root cgroup. The kernel runs the programs of a child
// cgroup first: ours see the service's address, theirs what ours left.

import assert from "node:assert/strict";
import { dirname } from "node:path";
import { test } from "node:test";
import { native } from "../../src/runtime/native.ts";
import { nginx } from "./harness/applications.ts";
import { Mesh } from "./harness/mesh.ts";
import { addressMacros, bpfTool } from "./harness/tools.ts";

test("programs of an ancestor cgroup that rewrite service addresses run after ours: the service address is what we saw, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, server] = [node.pod("client"), node.pod("server").serve(nginx())];
  const theirs = node.pod("theirs").serve(nginx());
  const web = mesh.service("web", { port: 80, endpoints: [server] });
  await mesh.up();
  const object = await bpfTool("balancer", {
    ...addressMacros("SERVICE", [web.ipv4, web.ipv6]),
    ...addressMacros("BACKEND", [theirs.ipv4, theirs.ipv6]),
  });
  const { programs } = native.bpf("load", { objects: [object] });
  const links = Object.values(programs).map(
    (program) => native.bpf("attachCgroup", { program, cgroupPath: dirname(node.podsCgroup) }).link,
  );
  const urls = [`http://${web.ipv4}/`, `http://[${web.ipv6}]/`, `http://[::ffff:${web.ipv4}]/`];
  const answers = async () =>
    Promise.all(urls.map(async (url) => (await client.run("curl", "-sS", url)).split(" ")[0]));
  try {
    const balanced = ["theirs", "theirs", "server"]; // What is v4-mapped it does not know; it is routed.
    assert.deepEqual(await answers(), balanced, "the balancer works");
    const culvert = await node.culvert();
    assert.deepEqual(await answers(), ["server", "server", "server"]);
    const connections = await culvert.connections(3);
    assert.deepEqual(
      connections.map(({ service, destination }) => [service, destination]).sort(),
      [
        ["default/web:80", `${web.ipv4}:80`],
        ["default/web:80", `${web.ipv4}:80`],
        ["default/web:80", `[${web.ipv6}]:80`],
      ].sort(),
    );
    await culvert.terminate();
    assert.deepEqual(await answers(), balanced, "and goes on when Culvert is gone");
  } finally {
    for (const fd of [...links, ...Object.values(programs)]) native.netns("close", { fd });
  }
});
