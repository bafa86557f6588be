// What a pod dials: captured, or left alone for a reason that is counted.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { tool } from "../netns/harness/tools.ts";
import { type Dialled, who } from "./lab/greeting.ts";
import { cannotRun, type Host, Lab } from "./lab/lab.ts";

describe("outbound capture", { skip: cannotRun() }, () => {
  let lab: Lab;
  let client: Host;
  let server: Host;
  let other: Host;

  before(async () => {
    lab = await Lab.create();
    client = await lab.host("client");
    server = await lab.host("server");
    other = await lab.host("other");
    for (const port of [7000, 7001, 7002]) await server.serve(port);
    await other.serve(7000);
  });
  after(() => lab[Symbol.asyncDispose]());

  for (const { family, dialled, seenBy, from } of [
    { family: "IPv4", dialled: () => server.ip4, seenBy: 2, from: () => client.ip4 },
    { family: "IPv6", dialled: () => server.ip6, seenBy: 10, from: () => client.ip6 },
    { family: "v4-mapped", dialled: () => `::ffff:${server.ip4}`, seenBy: 10, from: () => `::ffff:${client.ip4}` },
  ]) {
    test(`over ${family} the proxy learns what was dialled, and the application sees no difference`, async () => {
      await using proxy = await lab.startedProxy([server]);
      await proxy.enroll(other);
      const podId = await proxy.enroll(client);
      const counts = await proxy.counted(async () => {
        const { greeting, local, peer } = await client.dial(dialled(), 7000);
        assert.equal(greeting?.who, "proxy outbound");
        const address = family === "IPv6" ? `[${server.ip6}]:7000` : `${server.ip4}:7000`;
        assert.deepEqual(greeting.original, { address, family: seenBy, podId });
        assert.equal(peer, family === "IPv4" ? `${server.ip4}:7000` : `[${dialled()}]:7000`, "getpeername");
        assert.equal(withoutPort(local), family === "IPv4" ? from() : `[${from()}]`, "getsockname");
        assert.equal(portOf(local), portOf(greeting.peer), "the proxy sees the application's own port");
      });
      assert.deepEqual(counts, { captured_outbound: 1 });
    });
  }

  test("a source that the application bound, address or port or both, stays as it chose", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    const bindings = [
      { host: server.ip4, localAddress: client.ip4, localPort: 20_001 },
      { host: server.ip4, localAddress: client.ip4 },
      { host: server.ip4, localAddress: "0.0.0.0", localPort: 20_002 },
      { host: server.ip6, localAddress: client.ip6, localPort: 20_003 },
      { host: server.ip6, localAddress: "::", localPort: 20_004 },
      { host: `::ffff:${server.ip4}`, localAddress: "::", localPort: 20_005 },
    ];
    for (const { host, ...from } of bindings) {
      const dialled = await client.dial(host, 7000, from);
      assert.equal(dialled.greeting?.who, "proxy outbound", JSON.stringify(from));
      assert.ok(dialled.greeting.original !== undefined, JSON.stringify(from));
      if (from.localPort !== undefined) assert.equal(portOf(dialled.local), String(from.localPort));
      assert.ok(
        [client.ip4, client.ip6].some((address) => withoutPort(dialled.local).includes(address)),
        dialled.local,
      );
    }
  });

  test("500 connections at once each have their record when they are accepted", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    for (const host of [server.ip4, server.ip6]) {
      const all = await client.app.call("dialMany", { host, port: 7001, count: 500 });
      assert.equal(all.filter(({ greeting }) => greeting?.original?.address.endsWith(":7001")).length, 500);
    }
  });

  test("loopback, the pod itself, UDP and destinations of no interest are not touched, and counted", async () => {
    await using proxy = await lab.startedProxy([server, client]);
    await proxy.enroll(client);
    await client.serve(7100);
    const passes = [
      { reason: "pass_loopback", dial: () => client.dial("127.0.0.1", 7100), answers: "client" },
      { reason: "pass_loopback", dial: () => client.dial("::1", 7100), answers: "client" },
      { reason: "pass_loopback", dial: () => client.dial("::ffff:127.0.0.1", 7100), answers: "client" },
      { reason: "pass_loopback", dial: () => client.dial("0.0.0.0", 7100), answers: "client" },
      { reason: "pass_self", dial: () => client.dial(client.ip4, 7100), answers: "client" },
      { reason: "pass_self", dial: () => client.dial(client.ip6, 7100), answers: "client" },
      { reason: "pass_no_interest", dial: () => client.dial(other.ip4, 7000), answers: "other" },
      { reason: "pass_no_interest", dial: () => client.dial(other.ip6, 7000), answers: "other" },
      { reason: "pass_no_interest", dial: () => client.dial(`::ffff:${other.ip4}`, 7000), answers: "other" },
    ];
    for (const { reason, dial, answers } of passes) {
      const counts = await proxy.counted(async () => assert.equal(who(await dial()), answers, reason));
      assert.deepEqual(counts, { [reason]: 1 });
    }
    const udp = async () =>
      assert.equal(await client.app.call("dialUdp", { host: server.ip4, port: 53 }), `${server.ip4}:53`);
    assert.deepEqual(await proxy.counted(udp), { pass_not_stream: 1 });
    await client.app.call("stopServing", 7100);
  });

  test("a socket bound to a device is not touched, and counted", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    const url = `http://${server.ip4}:7000/`;
    const counts = await proxy.counted(async () => {
      const line = await runInPod(client, "curl", "-s", "--http0.9", "--interface", "if!eth0", url);
      assert.equal((JSON.parse(line) as { who: string }).who, "server");
    });
    assert.deepEqual(counts, { pass_bound_to_device: 1 });
  });

  test("a namespace that is not enrolled is not touched, and counted", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(other);
    const counts = await proxy.counted(async () => assert.equal(who(await client.dial(server.ip4, 7000)), "server"));
    assert.deepEqual(counts, { pass_not_enrolled: 1 });
  });

  test("a destination is opted out by its port, its network, or both", async () => {
    await using proxy = await lab.startedProxy([server, other]);
    await proxy.enroll(client, {
      outboundOptOuts: [
        { ports: [{ from: 7001, to: 7001 }] },
        { cidr: `${other.ip4}/32`, ports: [] },
        {
          cidr: "fd77::/64",
          ports: [
            { from: 6000, to: 7000 },
            { from: 7002, to: 8000 },
          ],
        },
      ],
      inboundOptOuts: [{ ports: [{ from: 7000, to: 7000 }] }],
    });
    for (const [host, port, answers] of [
      [server.ip4, 7000, "proxy outbound"],
      [server.ip4, 7001, "server"],
      [server.ip4, 7002, "proxy outbound"],
      [`::ffff:${server.ip4}`, 7001, "server"],
      [other.ip4, 7000, "other"],
      [`::ffff:${other.ip4}`, 7000, "other"],
      [server.ip6, 7000, "server"],
      [server.ip6, 7001, "server"],
      [server.ip6, 7002, "server"],
    ] as const) {
      const counts = await proxy.counted(async () => assert.equal(who(await client.dial(host, port)), answers));
      assert.deepEqual(counts, { [answers === "proxy outbound" ? "captured_outbound" : "pass_opted_out"]: 1 });
    }
  });

  test("what is of interest can change: addresses and networks, each alone", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(client);
    const answers = async () => [who(await client.dial(server.ip4, 7000)), who(await client.dial(server.ip6, 7000))];
    const destinations = (addresses: string[], cidrs: string[]) =>
      proxy.process.call("setDestinations", { addresses, cidrs });
    const captured = "proxy outbound";

    assert.deepEqual(await answers(), ["server", "server"]);
    await destinations([server.ip4, other.ip4], []);
    assert.deepEqual(await answers(), [captured, "server"]);
    await destinations([other.ip4, server.ip6], []);
    assert.deepEqual(await answers(), ["server", captured]);
    await destinations([], ["192.0.2.0/24", "10.77.0.0/29"]);
    assert.deepEqual(await answers(), [captured, "server"]);
    await destinations([], ["fd77::/112"]);
    assert.deepEqual(await answers(), ["server", captured]);
    await destinations([], []);
    assert.deepEqual(await answers(), ["server", "server"]);
  });

  test("when the proxy's listener is gone connections reach the server at once, and are counted", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    await proxy.process.call("closeListeners", client.name);
    const counts = await proxy.counted(async () => {
      for (const host of [server.ip4, server.ip6, `::ffff:${server.ip4}`]) {
        const dialled = await client.dial(host, 7000);
        assert.equal(who(dialled), "server");
        assert.equal(withoutPort(dialled.peer).includes(host), true);
      }
    });
    assert.deepEqual(counts, { pass_no_listener: 3 });
  });

  test("an impostor that listens on the proxy's port, which only one outside the pods' cgroup can, gets nothing", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    await proxy.process.call("closeListeners", client.name);
    const impostor = await lab.in(client, dirname(lab.podsCgroup));
    await impostor.call("serve", { who: "impostor", host: "::", port: 15001 });
    const counts = await proxy.counted(async () => {
      for (const host of [server.ip4, server.ip6, `::ffff:${server.ip4}`]) {
        assert.equal(who(await client.dial(host, 7000)), "server");
      }
    });
    assert.deepEqual(counts, { pass_no_listener: 3 });
    await impostor.kill();
  });

  test("a socket that was captured and dials elsewhere tells its new peer's name", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    const dialled = await redial(client, [server.ip4, 7000], [other.ip4, 7000], [server.ip4, 7001]);
    assert.deepEqual(
      dialled.map(({ peer, greeting }) => [peer, greeting?.who]),
      [
        [`${server.ip4}:7000`, "proxy outbound"],
        [`${other.ip4}:7000`, "other"],
        [`${server.ip4}:7001`, "proxy outbound"],
      ],
    );
    assert.equal(dialled[2]?.greeting?.original?.address, `${server.ip4}:7001`);
  });

  async function redial(from: Host, ...targets: (readonly [string, number])[]): Promise<Dialled[]> {
    const lines = await runInPod(from, await tool("redial"), ...targets.flat().map(String));
    return lines
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Dialled);
  }

  async function runInPod(host: Host, ...command: string[]): Promise<string> {
    const script = `echo $$ >${lab.podsCgroup}/cgroup.procs && exec nsenter --net=${host.netnsPath} "$@"`;
    const { stdout } = await promisify(execFile)("sh", ["-c", script, "sh", ...command]);
    return stdout;
  }
});

function withoutPort(text: string): string {
  return text.slice(0, text.lastIndexOf(":"));
}

function portOf(text: string): string {
  return text.slice(text.lastIndexOf(":") + 1);
}
