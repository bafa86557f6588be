// What mesh.yaml says of what comes and goes on a node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMesh } from "../../../src/discovery/file-source.ts";

const mesh = (node: string, workloads: string) => `
node:
  name: a
  cgroups: { pods: /sys/fs/cgroup/pods${node}
workloads:
  - { name: web-1, node: a, addresses: [10.244.0.2], netns: /run/netns/web-1${workloads} }
  - { name: plain, node: a, addresses: [10.244.0.3], netns: /run/netns/plain, enroll: false }
  - { name: elsewhere, node: b, addresses: [10.244.1.3], netns: /run/netns/elsewhere, enroll: false }
`;

test("defaults: no exempt cgroup, unknown pods pass, no probe ports, no cgroup of the pod's own", () => {
  const { node, pods, plainNamespaces } = parseMesh(mesh(" }", ""), "mesh.yaml");
  assert.deepEqual([node.cgroups.kubelet, node.unknownPods], [undefined, "pass"]);
  assert.deepEqual(
    pods.map(({ name, probePorts, cgroupPath }) => ({ name, probePorts, cgroupPath })),
    [{ name: "default/web-1", probePorts: [], cgroupPath: undefined }],
  );
  assert.deepEqual(plainNamespaces, ["/run/netns/plain"], "this node's workloads that are not to be enrolled");
});

test("all of it said", () => {
  const node = ", kubelet: /sys/fs/cgroup/k }\n  unknownPods: deny\n  plainNamespaces: [/run/netns/builder]";
  const said = parseMesh(mesh(node, ", probePorts: [8080, 9090], cgroup: /sys/fs/cgroup/pods/web-1"), "mesh.yaml");
  assert.deepEqual([said.node.cgroups.kubelet, said.node.unknownPods], ["/sys/fs/cgroup/k", "deny"]);
  assert.deepEqual(said.plainNamespaces, ["/run/netns/builder", "/run/netns/plain"]);
  assert.deepEqual(said.pods[0]!.probePorts, [8080, 9090]);
  assert.equal(said.pods[0]!.cgroupPath, "/sys/fs/cgroup/pods/web-1");
});

for (const { what, node, workload, message } of [
  {
    what: "another word for unknown pods",
    node: " }\n  unknownPods: drop",
    workload: "",
    message: /one of pass, deny/,
  },
  { what: "enroll: never", node: " }", workload: ", enroll: never", message: /write true or false/ },
  { what: "more probe ports than fit", node: " }", workload: ", probePorts: [1, 2, 3, 4, 5]", message: /more than 4/ },
]) {
  test(`${what} is refused`, () => {
    assert.throws(() => parseMesh(mesh(node, workload), "mesh.yaml"), message);
  });
}
