// What arrives at a pod: given to the proxy, or left to the application for a reason that is counted.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { who } from "./lab/greeting.ts";
import { cannotRun, type Host, Lab } from "./lab/lab.ts";

describe("inbound capture", { skip: cannotRun() }, () => {
  let lab: Lab;
  let server: Host;
  let outsider: Host;
  let neighbour: Host;

  before(async () => {
    lab = await Lab.create();
    server = await lab.host("server");
    outsider = await lab.host("outsider", { isPod: false });
    neighbour = await lab.host("neighbour", { isPod: false });
    for (const port of [7000, 7001]) await server.serve(port);
  });
  after(() => lab[Symbol.asyncDispose]());

  test("a connection from outside reaches the proxy, whose socket's own name is what was dialled", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server);
    for (const [host, name] of [
      [server.ip4, server.ip4],
      [server.ip6, `[${server.ip6}]`],
    ] as const) {
      // Nobody listens on 7999: every port is captured.
      for (const port of [7000, 7999]) {
        const counts = await proxy.counted(async () => {
          const { greeting, local, peer } = await outsider.dial(host, port);
          assert.deepEqual(greeting, { who: "proxy inbound", peer: local, local: `${name}:${port}` });
          assert.equal(peer, `${name}:${port}`);
        });
        assert.deepEqual(counts, { captured_inbound: 1 });
      }
    }
  });

  test("the pod's talk to itself is not touched", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(server);
    const counts = await proxy.counted(async () => {
      for (const host of ["127.0.0.1", "::1", server.ip4, server.ip6]) {
        assert.equal(who(await server.dial(host, 7000)), "server", host);
      }
    });
    assert.deepEqual(counts, { pass_loopback: 2, pass_self: 2 });
  });

  test("a connection is opted out by the pod's port, the client's network, or both", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server, {
      inboundOptOuts: [{ cidr: "10.77.0.0/16", ports: [{ from: 7001, to: 7001 }] }, { cidr: `${neighbour.ip6}/128` }],
      outboundOptOuts: [{ ports: [{ from: 7000, to: 7000 }] }],
    });
    for (const [from, host, port, answers] of [
      [outsider, server.ip4, 7000, "proxy inbound"],
      [outsider, server.ip4, 7001, "server"],
      [outsider, server.ip6, 7001, "proxy inbound"],
      [neighbour, server.ip4, 7000, "proxy inbound"],
      [neighbour, server.ip6, 7000, "server"],
    ] as const) {
      const counts = await proxy.counted(async () => assert.equal(who(await from.dial(host, port)), answers));
      assert.deepEqual(counts, { [answers === "server" ? "pass_opted_out" : "captured_inbound"]: 1 });
    }
  });

  test("when the proxy's listeners are gone connections reach the application, and are counted", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server);
    await proxy.process.call("closeListeners", server.name);
    const counts = await proxy.counted(async () => {
      assert.equal(who(await outsider.dial(server.ip4, 7000)), "server");
      assert.equal(who(await outsider.dial(server.ip6, 7000)), "server");
    });
    assert.deepEqual(counts, { pass_no_listener: 2 });
  });

  test("the proxy's own connection, from another pod's namespace, reaches the application", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(server);
    const ownLeg = await lab.in(outsider, lab.proxyCgroup);
    const foreign = await lab.in(outsider, lab.podsCgroup);
    for (const host of [server.ip4, server.ip6, `::ffff:${server.ip4}`]) {
      const counts = await proxy.counted(async () => {
        const { greeting } = await ownLeg.call("dial", { host, port: 7000 });
        assert.equal(greeting?.who, "server");
        assert.ok(
          [outsider.ip4, outsider.ip6].some((address) => greeting.peer.includes(address)),
          "the true source",
        );
      });
      assert.deepEqual(counts, { pass_bypass: 1 });
      assert.equal(who(await foreign.call("dial", { host, port: 7000 })), "proxy inbound");
    }
    await ownLeg.kill();
    await foreign.kill();
  });

  test("a proxy whose cgroup lies below the pods' (a DaemonSet's) does not capture its own connections", async () => {
    await using nested = await Lab.create({ isProxyBelowPods: true });
    const [client, application] = [await nested.host("client"), await nested.host("application")];
    await application.serve(7000);
    await using proxy = await nested.startedProxy([application]);
    await proxy.enroll(client);
    await proxy.enroll(application);
    const ownLeg = await nested.in(client, nested.proxyCgroup);
    const counts = await proxy.counted(async () => {
      assert.equal(who(await ownLeg.call("dial", { host: application.ip4, port: 7000 })), "application");
    });
    assert.deepEqual(counts, { pass_proxy: 1, pass_bypass: 1 });
  });

  test("a bypass record counts for 120 seconds, and for its exact tuple only", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server);
    const record = { source: outsider.ip4, sourcePort: 21_000, destination: server.ip4, port: 7000 };
    const dial = async (port: number, localPort: number) =>
      who(await outsider.dial(server.ip4, port, { localAddress: outsider.ip4, localPort }));

    await proxy.process.call("writeBypass", { ...record, ageSeconds: 110 });
    assert.equal(await dial(7000, 21_000), "server");
    assert.equal(await dial(7000, 21_001), "proxy inbound");
    assert.equal(await dial(7001, 21_000), "proxy inbound");
    await proxy.process.call("writeBypass", { ...record, sourcePort: 21_002, ageSeconds: 130 });
    assert.equal(await dial(7000, 21_002), "proxy inbound");
  });
});
