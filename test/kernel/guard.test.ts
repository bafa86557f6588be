// What is decided where the proxy cannot or must not take a connection: strict pods, stuck workers, the mesh's own ports,
// services without an endpoint.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { probeKernel } from "../../src/kernel/probes.ts";
import { tool } from "../netns/harness/tools.ts";
import { who } from "./lab/greeting.ts";
import { cannotRun, type Host, Lab, listeningPorts } from "./lab/lab.ts";

/** As the probes call it. */
const setRetval = "bpf_set_retval in connect hooks";

describe("guard", { skip: cannotRun() }, () => {
  let lab: Lab;
  let client: Host;
  let server: Host;
  let other: Host;
  let outsider: Host;

  before(async () => {
    lab = await Lab.create();
    client = await lab.host("client");
    server = await lab.host("server");
    other = await lab.host("other");
    outsider = await lab.host("outsider", { isPod: false });
    for (const host of [client, server, other, outsider]) await host.serve(7000);
    await other.serve(7001);
  });
  after(() => lab[Symbol.asyncDispose]());

  test("without a listener of the proxy a strict pod's connects fail with EPERM, any other's reach the server", async () => {
    await using proxy = await lab.startedProxy([server]);
    for (const outboundStrict of [true, false]) {
      await proxy.enroll(client, { outboundStrict });
      assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
      await proxy.process.call("closeListeners", client.name);
      const counts = await proxy.counted(async () => {
        for (const host of dialled(server)) {
          assert.equal(who(await client.dial(host, 7000)), outboundStrict ? "EPERM" : "server", host);
        }
      });
      assert.deepEqual(counts, { [outboundStrict ? "deny_no_listener" : "pass_no_listener"]: 3 });
      await proxy.process.call("release", client.name);
    }
  });

  test("without a listener of the proxy, what arrives at a strict pod is reset, at any other pod it reaches it", async () => {
    await using proxy = await lab.startedProxy([]);
    for (const inboundStrict of [true, false]) {
      await proxy.enroll(server, { inboundStrict });
      assert.equal(who(await outsider.dial(server.ip4, 7000)), "proxy inbound");
      await proxy.process.call("closeListeners", server.name);
      const counts = await proxy.counted(async () => {
        for (const host of [server.ip4, server.ip6]) {
          assert.equal(who(await outsider.dial(host, 7000)), inboundStrict ? "ECONNREFUSED" : "server", host);
        }
      });
      assert.deepEqual(counts, { [inboundStrict ? "deny_no_listener" : "pass_no_listener"]: 2 });
      assert.equal(who(await server.dial(server.ip4, 7000)), "server", "its talk to itself goes on");
      await proxy.process.call("release", server.name);
    }
  });

  test("strict is a matter of each direction, and of what the mesh wants: the rest passes as ever", async () => {
    await using proxy = await lab.startedProxy([server, other]);
    await proxy.enroll(client, { inboundStrict: true });
    await proxy.enroll(server, { outboundStrict: true, outboundOptOuts: [{ ports: [{ from: 7001, to: 7001 }] }] });
    for (const { name } of [client, server]) await proxy.process.call("closeListeners", name);
    assert.equal(who(await client.dial(server.ip4, 7000)), "server");
    assert.equal(who(await server.dial(other.ip4, 7000)), "EPERM");
    assert.equal(who(await server.dial(other.ip4, 7001)), "other", "opted out");
    assert.equal(who(await server.dial(outsider.ip4, 7000)), "outsider", "of no interest");
    assert.equal(who(await server.dial("127.0.0.1", 7000)), "server", "loopback");
  });

  test("when no worker has said for 3 s that it runs, the proxy counts as gone; one that has is enough", async () => {
    await using proxy = await lab.startedProxy([server]);
    // Before each of them, as a dial may take long: an emulated machine has seconds that are longer.
    const answers = async (ages: readonly number[]) => {
      const found: (string | undefined)[] = [];
      for (const from of [client, outsider]) {
        for (const address of [server.ip4, server.ip6]) {
          await proxy.process.call("setHeartbeats", ages);
          found.push(who(await from.dial(address, 7000)));
        }
      }
      return found;
    };
    const captured = ["proxy outbound", "proxy outbound", "proxy inbound", "proxy inbound"];
    for (const isStrict of [true, false]) {
      await proxy.enroll(client, { outboundStrict: isStrict });
      await proxy.enroll(server, { inboundStrict: isStrict });
      const gone = isStrict ? ["EPERM", "EPERM", "ECONNREFUSED", "ECONNREFUSED"] : Array(4).fill("server");
      for (const { ages, expected } of [
        { ages: [1000], expected: captured },
        { ages: [3000], expected: gone },
        { ages: [10_000, 5000, 3600_000], expected: gone },
        { ages: [10_000, 5000, 100], expected: captured },
        { ages: [...Array(63).fill(4000), 0], expected: captured },
        { ages: [], expected: gone },
      ]) {
        const counts = await proxy.counted(async () => assert.deepEqual(await answers(ages), expected, `${ages}`));
        // What the client's hook lets pass is judged once more where it arrives.
        const uncaptured = isStrict ? { deny_no_heartbeat: 4 } : { pass_no_heartbeat: 6 };
        assert.deepEqual(counts, expected === captured ? { captured_outbound: 2, captured_inbound: 2 } : uncaptured);
      }
      for (const { name } of [client, server]) await proxy.process.call("release", name);
      await proxy.process.call("setHeartbeats", [0]);
    }
  });

  test("a strict pod's connects that cannot be captured fail: bound to a device, without a source address", async () => {
    await using proxy = await lab.startedProxy([server]);
    for (const outboundStrict of [true, false]) {
      await proxy.enroll(client, { outboundStrict, addresses: [client.ip4] });
      for (const [kind, host, reason] of [
        ["device", server.ip4, "pass_bound_to_device"],
        ["tcp", server.ip6, "pass_no_source"],
      ] as const) {
        const counts = await proxy.counted(async () => {
          assert.equal(await dialAs(kind, host), outboundStrict ? "connect: EPERM" : "connected directly", kind);
        });
        assert.deepEqual(counts, { [outboundStrict ? "deny_not_capturable" : reason]: 1 });
      }
      assert.equal(await dialAs("tcp", server.ip4), "connected", "what can be captured is");
      await proxy.process.call("release", client.name);
    }
  });

  test("MPTCP is captured as the TCP that it begins as", async (t) => {
    if (!existsSync("/proc/sys/net/mptcp/enabled")) return t.skip("this kernel has no MPTCP");
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    for (const host of [server.ip4, server.ip6]) {
      const counts = await proxy.counted(async () => assert.equal(await dialAs("mptcp", host), "connected"));
      assert.deepEqual(counts, { captured_outbound: 1 });
    }
  });

  test("a proxy that goes leaves strict pods closed, also after it has closed its listeners, and others open", async () => {
    await using proxy = await lab.startedProxy([server, other]);
    await proxy.enroll(client, { outboundStrict: true });
    await proxy.enroll(server, { inboundStrict: true });
    await proxy.enroll(other);
    const hosts = [client, server, other];
    const answers = async () => [
      who(await client.dial(other.ip4, 7000)),
      who(await outsider.dial(server.ip6, 7000)),
      who(await other.dial(client.ip4, 7000)),
      who(await outsider.dial(other.ip4, 7000)),
    ];
    for (const { name } of hosts) await proxy.process.call("leave", name);
    assert.deepEqual(await answers(), ["EPERM", "ECONNREFUSED", "client", "other"]);
    for (const { name } of hosts) await proxy.process.call("release", name);
    assert.deepEqual(listeningPorts(client), [7000]);
    assert.equal((await answers())[0], "EPERM");
  });

  test("a service without an endpoint refuses in the hook, port by port", async () => {
    const canSayWhy = probeKernel().some(({ name, supported }) => name === setRetval && supported);
    const refusal = canSayWhy ? "ECONNREFUSED" : "EPERM";
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    const refused = (...ports: number[]) =>
      proxy.process.call(
        "setRefused",
        [server.ip4, server.ip6].flatMap((address) => ports.map((port) => ({ address, port }))),
      );
    await refused(7000, 7001);
    const counts = await proxy.counted(async () => {
      for (const host of dialled(server)) assert.equal(who(await client.dial(host, 7000)), refusal, host);
    });
    assert.deepEqual(counts, { refused_no_endpoint: 3 });
    await refused(7001);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
    assert.equal(who(await client.dial(server.ip6, 7001)), refusal);
    await proxy.process.call("setHeartbeats", []);
    await server.serve(7001);
    assert.equal(who(await client.dial(server.ip4, 7001)), "server", "without a proxy it is as without Culvert");
    await server.app.call("stopServing", 7001);
  });

  test("nobody but the proxy binds a mesh port in an enrolled pod, whether the proxy is there or not", async () => {
    await using proxy = await lab.startedProxy([server]);
    const serve = (host: string, port: number) => client.app.call("serve", { who: "impostor", host, port });
    await serve("::", 15_008);
    await client.app.call("stopServing", 15_008);
    await proxy.enroll(client);
    const denied = async () => {
      const counts = await proxy.counted(async () => {
        for (const port of [15_001, 15_006, 15_008]) {
          for (const host of ["::", "0.0.0.0", client.ip4, client.ip6, "127.0.0.1", `::ffff:${client.ip4}`]) {
            await assert.rejects(serve(host, port), /EPERM/, `${host} ${port}`);
          }
        }
      });
      assert.deepEqual(counts, { deny_bind: 18 });
    };
    await denied();
    await proxy.process.call("closeListeners", client.name);
    await denied();
    await serve("::", 15_007);
    await client.app.call("stopServing", 15_007);
    const ofTheProxy = await lab.in(client, lab.proxyCgroup);
    await ofTheProxy.call("serve", { who: "proxy", host: "::", port: 15_008 });
    await ofTheProxy.kill();
    await proxy.process.call("release", client.name);
    await serve("::", 15_008);
    await client.app.call("stopServing", 15_008);
  });

  test("connecting to a mesh port directly, from outside or from within the pod, gets a reset", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server);
    const own = [server.ip4, server.ip6, "127.0.0.1", "::1", `::ffff:${server.ip4}`, "127.77.1.2"];
    const dials = [
      ...[server.ip4, server.ip6].map((host) => ({ from: outsider, host })),
      ...own.map((host) => ({ from: server, host })),
    ];
    for (const port of [15_001, 15_006]) {
      const counts = await proxy.counted(async () => {
        for (const { from, host } of dials) {
          assert.equal(who(await from.dial(host, port)), "ECONNREFUSED", `${from.name} to ${host}:${port}`);
        }
      });
      assert.equal(counts.deny_no_record, dials.length);
    }
    assert.deepEqual(await proxy.counted(() => outsider.dial(server.ip4, 15_008)), { pass_mesh_port: 1 });
  });

  async function dialAs(kind: "tcp" | "mptcp" | "device", host: string): Promise<string> {
    return lab.run(client, await tool("dial-as"), kind, host, "7000");
  }
});

/** As IPv4, IPv6 and v4-mapped. */
function dialled({ ip4, ip6 }: Host): string[] {
  return [ip4, ip6, `::ffff:${ip4}`];
}
