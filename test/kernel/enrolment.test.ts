// The order of enrolling and withdrawing, what is refused, and that nothing is left behind.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { tool } from "../netns/harness/tools.ts";
import { who } from "./lab/greeting.ts";
import { cannotRun, type Host, Lab, listeningPorts, stillThere } from "./lab/lab.ts";

const meshPorts = [15_001, 15_006];

describe("enrolment", { skip: cannotRun() }, () => {
  let lab: Lab;
  let client: Host;
  let server: Host;
  let outsider: Host;

  before(async () => {
    lab = await Lab.create();
    client = await lab.host("client");
    server = await lab.host("server");
    outsider = await lab.host("outsider", { isPod: false });
    await server.serve(7000);
    await outsider.serve(7000);
  });
  after(() => lab[Symbol.asyncDispose]());

  test("a prepared pod has listeners and is not captured; armed it is, at once; disarmed it is not, at once", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.process.call("prepare", client.request());
    await proxy.process.call("prepare", server.request());
    assert.deepEqual(listeningPorts(client), meshPorts);
    const answers = async () => [who(await client.dial(server.ip4, 7000)), who(await outsider.dial(server.ip4, 7000))];

    for (let round = 0; round < 3; round++) {
      assert.deepEqual(await answers(), ["server", "server"]);
      for (const { name } of [client, server]) await proxy.process.call("arm", name);
      assert.deepEqual(await answers(), ["proxy outbound", "proxy inbound"]);
      for (const { name } of [client, server]) await proxy.process.call("disarm", name);
    }
    assert.deepEqual(await answers(), ["server", "server"]);
    for (const { name } of [client, server]) await proxy.process.call("release", name);
    assert.deepEqual(listeningPorts(client), []);
  });

  test("under load, enrolling and withdrawing lose no connection, and find a listener and a record each time", async () => {
    await using proxy = await lab.startedProxy([outsider]);
    await proxy.process.call("prepare", client.request());
    await proxy.process.call("prepare", server.request());
    const diallers = [client.app, outsider.app];
    const hosts = [outsider.ip4, server.ip6];
    const counts = await proxy.counted(async () => {
      await Promise.all(diallers.map((app, i) => app.call("startDialling", { host: hosts[i]!, port: 7000 })));
      for (let round = 0; round < 100; round++) {
        for (const action of ["arm", "disarm"] as const) {
          for (const { name } of [client, server]) await proxy.process.call(action, name);
        }
      }
      const [outbound, inbound] = await Promise.all(diallers.map((app) => app.call("stopDialling")));
      for (const dialled of [...outbound!, ...inbound!]) assert.equal(dialled.error, undefined);
      assert.deepEqual(new Set(outbound!.map(who)), new Set(["outsider", "proxy outbound"]));
      assert.deepEqual(new Set(inbound!.map(who)), new Set(["server", "proxy inbound"]));
      const captured = outbound!.filter((dialled) => who(dialled) === "proxy outbound");
      assert.ok(captured.every(({ greeting }) => greeting?.original?.address === `${outsider.ip4}:7000`));
    });
    assert.equal(counts.pass_no_listener, undefined);
  });

  test("the proxy's own namespace, a namespace twice, an address twice and a seventeenth rule are refused", async () => {
    await using proxy = await lab.startedProxy([server]);
    const { process } = proxy;
    await proxy.enroll(client);
    const before = await process.call("descriptors");
    const refuses = (request: Partial<ReturnType<Host["request"]>>, message: RegExp) =>
      assert.rejects(process.call("prepare", { ...server.request(), ...request }), message);

    await refuses({ netnsPath: `/proc/${process.pid}/ns/net` }, /server: .* is the proxy's own network namespace/);
    await refuses({ netnsPath: client.netnsPath }, /server: its network namespace is pod client's/);
    await refuses({ netnsPath: "/proc/self/status" }, /no network namespace/);
    await refuses({ netnsPath: "/run/netns/culvert-none" }, /open network namespace .*no such file/);
    const ports = Array.from({ length: 17 }, (_, i) => ({ from: i, to: i }));
    await refuses({ outboundOptOuts: [{ ports }] }, /server: 17 opt-out rules, and at most 16 fit/);
    assert.deepEqual(await process.call("descriptors"), before, "descriptors of what was refused");

    await process.call("prepare", { ...server.request(), addresses: [server.ip4, client.ip4] });
    await assert.rejects(process.call("arm", server.name), /server: address 10\.77\.0\.1 is pod client's/);
    assert.equal(who(await outsider.dial(server.ip4, 7000)), "server", "what failed to arm captures nothing");
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound", "and the other pod stays captured");
  });

  test("a pod whose mesh port is taken is refused, and nothing of the attempt is left", async () => {
    await using proxy = await lab.startedProxy([server]);
    const squatter = await lab.in(client, lab.podsCgroup);
    await squatter.call("serve", { who: "squatter", host: "127.0.0.1", port: 15006 });
    const before = await proxy.process.call("descriptors");
    await assert.rejects(proxy.enroll(client), /listen on 127\.0\.0\.1 port 15006: address already in use/);
    assert.deepEqual(await proxy.process.call("descriptors"), before);
    assert.deepEqual(listeningPorts(client), [15_006]);
    await squatter.kill();
    await proxy.enroll(client);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  test("a released pod's id is given to the next, without the opt-outs of the first", async () => {
    await using proxy = await lab.startedProxy([server]);
    const first = await proxy.enroll(client, { outboundOptOuts: [{ ports: [] }] });
    assert.equal(who(await client.dial(server.ip4, 7000)), "server");
    await proxy.process.call("release", client.name);
    assert.equal(await proxy.enroll(client), first);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  test("without SO_NETNS_COOKIE (before 5.14) the sock_create program tells a namespace's cookie", async (t) => {
    await using proxy = await lab.startedProxy([server]);
    const { fromKernel, fromProgram } = await proxy.process.call("prepareWithoutCookieOption", client.request());
    if (fromKernel === "undefined") return t.skip("no SO_NETNS_COOKIE here: every other test uses the program's");
    assert.equal(fromProgram, fromKernel);
  });

  test("capture does not start in a process outside the proxy's cgroup, and says so", async () => {
    await using proxy = await lab.proxy("outside-its-cgroup");
    await assert.rejects(proxy.process.call("start"), /this process is not in its own cgroup .*\/proxy; enter it/);
    const { links, maps, programs } = await proxy.process.call("descriptors");
    assert.deepEqual({ links, maps, programs }, { links: [], maps: [], programs: [] });
  });

  test("after close nothing is left: no link, program or map, no listener, no descriptor", async () => {
    await using proxy = await lab.startedProxy([server]);
    await proxy.enroll(client);
    await proxy.enroll(server);
    const during = await proxy.process.call("descriptors");
    assert.ok(during.links.length >= 8 && during.programs.length >= 7 && during.maps.length >= 11);
    assert.deepEqual(stillThere(during, await tool("bpf-objects")), kernelObjects(during));

    await proxy.process.call("close");
    const after = await proxy.process.call("descriptors");
    assert.deepEqual(kernelObjects(after), { links: [], maps: [], programs: [] });
    assert.deepEqual([after.sockets, after.namespaces], [during.sockets - 6, during.namespaces - 2]);
    await assertNothingLeft(during);
    assert.equal(who(await client.dial(server.ip4, 7000)), "server");
    await proxy.process.call("leaveCgroup");
    assert.ok(existsSync(lab.proxyCgroup), "the lab made the cgroup, so leaving does not remove it");
  });

  test("killed with -9: connections go direct at once, nothing is left, and the next proxy captures again", async () => {
    const proxy = await lab.startedProxy([outsider, server]);
    await proxy.enroll(client);
    await proxy.enroll(server);
    const ids = await proxy.process.call("descriptors");
    await client.app.call("startDialling", { host: outsider.ip4, port: 7000 });
    assert.equal(who(await client.dial(outsider.ip4, 7000)), "proxy outbound");
    await proxy.process.kill("SIGKILL");
    assert.equal(who(await outsider.dial(server.ip4, 7000)), "server");
    assert.equal(who(await client.dial(server.ip4, 7000)), "server");
    const dialled = await client.app.call("stopDialling");
    // What the proxy had accepted dies with it: one connection at most, as they are dialled one after another.
    const failed = dialled.filter(({ greeting }) => greeting === undefined);
    assert.ok(failed.length <= 1, JSON.stringify(failed));
    assert.equal(who(dialled.at(-1)!), "outsider");
    await assertNothingLeft(ids);

    await using next = await lab.startedProxy([server]);
    await next.enroll(client);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  /** The kernel frees programs and maps a moment later, after readers have left; there is no event to wait for. */
  async function assertNothingLeft(ids: Parameters<typeof kernelObjects>[0]): Promise<void> {
    const program = await tool("bpf-objects");
    const deadline = performance.now() + 5000;
    const isLeft = () => Object.values(stillThere(ids, program)).some((list) => list.length > 0);
    while (isLeft() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(stillThere(ids, program), { links: [], maps: [], programs: [] });
    for (const host of [client, server]) {
      assert.deepEqual(
        listeningPorts(host).filter((port) => meshPorts.includes(port)),
        [],
      );
    }
  }
});

function kernelObjects({ links, maps, programs }: { links: number[]; maps: number[]; programs: number[] }) {
  return { links, maps, programs };
}
