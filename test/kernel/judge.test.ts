// What src/kernel/judge.ts foretells out of the maps is what the hooks then count, in every state that a proxy can be in.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { cannotRun, type Host, Lab, type LabProxy } from "./lab/lab.ts";

describe("what is foretold of a connection", { skip: cannotRun() }, () => {
  let lab: Lab;
  let client: Host;
  let server: Host;
  let outsider: Host;

  before(async () => {
    lab = await Lab.create();
    client = await lab.host("client");
    server = await lab.host("server");
    outsider = await lab.host("outsider");
    for (const port of [7000, 7001, 7002]) await server.serve(port);
    await outsider.serve(7000);
  });
  after(() => lab[Symbol.asyncDispose]());

  /** Dials over both families; answers what was foretold, having compared it with what was counted. */
  async function foretold(proxy: LabProxy, from: Host, to: Host, port: number): Promise<string[]> {
    const reasons: string[] = [];
    for (const family of ["ip4", "ip6"] as const) {
      const way = { netnsPath: from.netnsPath, source: from[family], destination: to[family], port };
      const { outbound, inbound } = await proxy.process.call("foretell", way);
      const expected = outbound.startsWith("pass") && inbound !== undefined ? [outbound, inbound] : [outbound];
      const counts = await proxy.counted(() => from.dial(to[family], port));
      assert.deepEqual(Object.keys(counts).sort(), [...new Set(expected)].sort(), `${to[family]}:${port}`);
      reasons.push(expected.join(" "));
    }
    assert.equal(reasons[0], reasons[1], "both families are judged alike");
    return reasons;
  }

  for (const isStrict of [true, false]) {
    const down = (why: string) => (isStrict ? `deny_${why}` : `pass_${why} pass_${why}`);

    test(`comes true while the proxy runs, hangs, leaves and is gone (${isStrict ? "strict" : "permissive"} pods)`, async () => {
      await using proxy = await lab.startedProxy([server]);
      const strict = { outboundStrict: isStrict, inboundStrict: isStrict };
      await proxy.enroll(client, { ...strict, outboundOptOuts: [{ ports: [{ from: 7002, to: 7002 }] }] });
      await proxy.enroll(server, { ...strict, inboundOptOuts: [{ cidr: `${outsider.ip4}/32` }] });
      const endpoints = [server.ip4, server.ip6].map((address) => ({ address, port: 7001 }));
      await proxy.process.call("setRefused", endpoints);
      const of = async (from: Host, to: Host, port = 7000) => (await foretold(proxy, from, to, port))[0];

      assert.equal(await of(client, server), "captured_outbound");
      assert.equal(await of(client, server, 7001), "refused_no_endpoint");
      assert.equal(await of(client, server, 7002), "pass_opted_out captured_inbound");
      assert.equal(await of(client, outsider), "pass_no_interest");
      assert.equal(await of(client, client), "pass_self");
      assert.equal(await of(server, server), "pass_self");

      await proxy.process.call("setHeartbeats", [4000, 60_000]);
      assert.equal(await of(client, server), isStrict ? "deny_no_heartbeat" : "pass_no_heartbeat pass_no_heartbeat");
      // Of a minute from now: it stays fresh however slow the machine is.
      await proxy.process.call("setHeartbeats", [4000, -60_000]);
      assert.equal(await of(client, server), "captured_outbound", "one worker is enough");

      for (const { name } of [client, server]) await proxy.process.call("closeListeners", name);
      assert.equal(await of(client, server), down("no_listener"));
      for (const { name } of [client, server]) await proxy.process.call("leave", name);
      assert.equal(await of(client, server), isStrict ? "deny_no_listener" : "pass_not_enrolled");
    });
  }

  test("of namespaces that are not enrolled depends on what is known of them, and on the node", async () => {
    await using passing = await lab.startedProxy([server], [], { unknownPods: "pass" });
    await passing.enroll(server, { inboundOptOuts: [{ cidr: `${outsider.ip4}/32` }, { cidr: `${outsider.ip6}/128` }] });
    assert.deepEqual(await foretold(passing, outsider, server, 7000), Array(2).fill("pass_unknown pass_opted_out"));
    await passing.process.call("addPlain", outsider.netnsPath);
    assert.deepEqual(
      await foretold(passing, outsider, server, 7000),
      Array(2).fill("pass_not_enrolled pass_opted_out"),
    );
    assert.deepEqual(
      await foretold(passing, outsider, server, 15_001),
      Array(2).fill("pass_not_enrolled deny_no_record"),
    );
  });

  test("of an unknown namespace is that it is denied, where that is so", async () => {
    await using denying = await lab.startedProxy([server], [], { unknownPods: "deny" });
    assert.deepEqual(await foretold(denying, outsider, server, 7000), Array(2).fill("deny_unknown"));
  });
});
