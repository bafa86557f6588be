// What holds for the node as a whole: probes reach the application, and namespaces that nothing is known of.

import assert from "node:assert/strict";
import { mkdirSync, rmdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { who } from "./lab/greeting.ts";
import { cannotRun, type Host, Lab, type LabProxy } from "./lab/lab.ts";

describe("node rules", { skip: cannotRun() }, () => {
  let lab: Lab;
  let server: Host;
  let node: Host;
  let outsider: Host;
  let stranger: Host;

  before(async () => {
    lab = await Lab.create();
    server = await lab.host("server");
    node = await lab.host("node", { isPod: false });
    outsider = await lab.host("outsider", { isPod: false });
    stranger = await lab.host("stranger");
    for (const port of [7000, 8080]) await server.serve(port);
    await outsider.serve(7000);
  });
  after(() => lab[Symbol.asyncDispose]());

  /** A proxy that has enrolled the server and knows the node's addresses. */
  async function start(options: { kubeletCgroup?: string; unknownPods?: "pass" | "deny" }): Promise<LabProxy> {
    const proxy = await lab.startedProxy([server, outsider], [], options);
    await proxy.process.call("setNodeAddresses", [node.ip4, node.ip6]);
    await proxy.enroll(server, { probePorts: [8080] });
    return proxy;
  }

  test("exactly what a process of the exempt cgroup dials reaches the application, from before its cgroup was made again and after", async () => {
    mkdirSync(lab.kubeletCgroup);
    await using proxy = await start({ kubeletCgroup: lab.kubeletCgroup });
    for (let round = 0; round < 2; round++) {
      const kubelet = await lab.in(node, lab.kubeletCgroup);
      const counts = await proxy.counted(async () => {
        for (const host of [server.ip4, server.ip6, `::ffff:${server.ip4}`]) {
          assert.equal(who(await kubelet.call("dial", { host, port: 7000 })), "server", host);
          assert.equal(who(await node.dial(host, 7000)), "proxy inbound", `${host}, another process of the node`);
          assert.equal(who(await node.dial(host, 8080)), "proxy inbound", `${host}, on a probe port`);
        }
      });
      assert.deepEqual(counts, { pass_bypass: 3, captured_inbound: 6 });
      await kubelet.kill();
      rmdirSync(lab.kubeletCgroup);
      assert.deepEqual(await proxy.process.call("checkExemption"), ["defunct"]);
      mkdirSync(lab.kubeletCgroup);
      assert.deepEqual(await proxy.process.call("checkExemption"), ["attached again"]);
      assert.deepEqual(await proxy.process.call("checkExemption"), []);
    }
    rmdirSync(lab.kubeletCgroup);
  });

  test("where the exempt cgroup is not there, an address of the node and a probe port of the pod tell a probe, also when the proxy is dead", async () => {
    await using proxy = await start({ kubeletCgroup: lab.kubeletCgroup });
    const dialAll = async (expected: { probe: string; other: string }) => {
      for (const version of ["ip4", "ip6"] as const) {
        assert.equal(who(await node.dial(server[version], 8080)), expected.probe, "from the node, on a probe port");
        assert.equal(who(await node.dial(server[version], 7000)), expected.other, "from the node, on another port");
        assert.equal(who(await outsider.dial(server[version], 8080)), expected.other, "from elsewhere");
      }
    };
    const probe = "server";
    const rise = await proxy.counted(() => dialAll({ probe, other: "proxy inbound" }));
    assert.deepEqual(rise, { pass_probe: 2, captured_inbound: 4 });
    mkdirSync(lab.kubeletCgroup);
    assert.deepEqual(await proxy.process.call("checkExemption"), ["attached"]);
    await dialAll({ probe: "proxy inbound", other: "proxy inbound" });
    await proxy.process.call("release", server.name);
    await proxy.enroll(server, { probePorts: [8080], inboundStrict: true });
    await proxy.process.call("setHeartbeats", [10_000]);
    await dialAll({ probe, other: "ECONNREFUSED" });
    rmdirSync(lab.kubeletCgroup);
  });

  for (const unknownPods of ["pass", "deny"] as const) {
    test(`a namespace that nothing is known of may ${unknownPods === "pass" ? "connect" : "not connect to what the mesh wants"}, until it is known; the time until then is told`, async () => {
      await using proxy = await start({ unknownPods });
      const isDenied = unknownPods === "deny";
      const began = performance.now();
      const counts = await proxy.counted(async () => {
        for (const host of [outsider.ip4, outsider.ip6, `::ffff:${outsider.ip4}`]) {
          assert.equal(who(await stranger.dial(host, 7000)), isDenied ? "EPERM" : "outsider", host);
        }
        assert.equal(who(await stranger.dial(node.ip4, 7000)), "ECONNREFUSED", "what the mesh does not want");
      });
      assert.deepEqual(counts, { [isDenied ? "deny_unknown" : "pass_unknown"]: 3, pass_not_enrolled: 1 });

      await proxy.process.call("prepare", stranger.request());
      const seconds = await proxy.process.call("arm", stranger.name);
      assert.ok(seconds !== undefined && seconds > 0 && seconds <= (performance.now() - began) / 1000, `${seconds}`);
      for (const host of [outsider.ip4, outsider.ip6]) {
        assert.equal(who(await stranger.dial(host, 7000)), "proxy outbound", host);
      }
      await proxy.process.call("release", stranger.name);
      assert.equal(who(await stranger.dial(outsider.ip4, 7000)), isDenied ? "EPERM" : "outsider", "forgotten again");
      await proxy.process.call("addPlain", stranger.netnsPath);
      const plain = await proxy.counted(async () => {
        for (const host of [outsider.ip4, outsider.ip6]) assert.equal(who(await stranger.dial(host, 7000)), "outsider");
      });
      assert.deepEqual(plain, { pass_not_enrolled: 2 });
    });
  }
});
