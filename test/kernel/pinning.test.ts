// What outlives the process: adoption after a crash, another layout in the place of one, what is left and what is not.

import assert from "node:assert/strict";
import { existsSync, fstatSync, mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { uninstallInstance } from "../../src/kernel/instances.ts";
import { forNamespaces } from "../../src/kernel/namespaces.ts";
import { tool } from "../netns/harness/tools.ts";
import { who } from "./lab/greeting.ts";
import { cannotRun, type Host, Lab, type LabProxy, listeningPorts, stillThere } from "./lab/lab.ts";
import { otherObjects } from "./lab/other-objects.ts";

describe("pins", { skip: cannotRun() }, () => {
  let lab: Lab;
  let client: Host;
  let server: Host;
  let outsider: Host;
  let otherLayout: string;
  let smallMap: string;
  const strict = { outboundStrict: true, inboundStrict: true };

  before(async () => {
    lab = await Lab.create();
    client = await lab.host("client");
    server = await lab.host("server");
    outsider = await lab.host("outsider", { isPod: false });
    for (const host of [client, server, outsider]) await host.serve(7000);
    otherLayout = otherObjects("oneMapMore");
    smallMap = otherObjects("fourDestinations");
  });
  afterEach(() => {
    rmSync(lab.pins, { recursive: true, force: true });
  });
  after(() => lab[Symbol.asyncDispose]());

  function pinned(options: { objects?: string } = {}): Promise<LabProxy> {
    return lab.startedProxy([server, outsider], [], { pins: lab.pins, ...options });
  }

  const pinnedLinks = (layout: string) => readdirSync(join(lab.pins, layout, "links")).sort();

  test("killed with -9 and started again: maps, links and ids are those of before, programs are new ones", async () => {
    const first = await pinned();
    const ids = [await first.enroll(client), await first.enroll(server)];
    await first.process.call("settle");
    const before = await first.process.call("descriptors");
    await first.process.kill("SIGKILL");

    await using second = await pinned();
    // In another order than the first time.
    assert.deepEqual([await second.enroll(server), await second.enroll(client)].reverse(), ids);
    await second.process.call("settle");
    const after = await second.process.call("descriptors");
    const sorted = (list: number[]) => [...list].sort((a, b) => a - b);
    assert.deepEqual(sorted(after.links), sorted(before.links));
    assert.deepEqual(sorted(after.maps), sorted(before.maps));
    assert.deepEqual(
      after.programs.filter((id) => before.programs.includes(id)),
      [],
    );
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
    assert.equal(who(await outsider.dial(server.ip6, 7000)), "proxy inbound");
  });

  test("killed in the middle of arming a pod: its addresses are nobody else's, and it is enrolled by the next", async () => {
    const first = await pinned();
    await first.enroll(client);
    await first.process.call("loseNamespace", client.name);
    await first.process.kill("SIGKILL");

    await using second = await pinned();
    // Another pod comes first: it must not get the id that those addresses lead to.
    await second.enroll(server);
    await second.enroll(client);
    await second.process.call("settle");
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
    for (const { ip4, ip6 } of [client, server]) {
      for (const address of [ip4, ip6]) assert.equal(who(await outsider.dial(address, 7000)), "proxy inbound");
    }
  });

  test("after a crash a pod passes or, if it is strict, fails, until it is armed: listeners alone capture nothing", async () => {
    for (const options of [{}, strict]) {
      const first = await pinned();
      await first.enroll(client, options);
      await first.enroll(server, options);
      await first.process.kill("SIGKILL");
      const answers = async () => [
        who(await client.dial(outsider.ip4, 7000)),
        who(await client.dial(outsider.ip6, 7000)),
        who(await outsider.dial(server.ip4, 7000)),
      ];
      const uncaptured = options === strict ? ["EPERM", "EPERM", "ECONNREFUSED"] : ["outsider", "outsider", "server"];
      assert.deepEqual(await answers(), uncaptured, "without a proxy");
      await using second = await pinned();
      for (const host of [client, server]) await second.process.call("prepare", host.request(options));
      assert.deepEqual(await answers(), uncaptured, "while it starts");
      for (const { name } of [client, server]) await second.process.call("arm", name);
      assert.deepEqual(await answers(), ["proxy outbound", "proxy outbound", "proxy inbound"]);
      await second.process.kill();
      uninstallInstance(lab.pins);
    }
  });

  test("what was left and is not enrolled again is withdrawn when the start settles: pods, addresses, links", async () => {
    const first = await pinned();
    await first.enroll(client, strict);
    await first.enroll(server, { ...strict, addresses: [server.ip4, server.ip6, "10.77.9.9"] });
    await first.process.kill("SIGKILL");
    assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM");
    assert.equal(who(await outsider.dial(server.ip4, 7000)), "ECONNREFUSED");

    await using second = await pinned();
    await second.enroll(server);
    assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM", "still in force");
    await second.process.call("settle");
    assert.equal(
      who(await client.dial(server.ip4, 7000)),
      "proxy inbound",
      "dialled by a pod that is enrolled no more",
    );
    const [layout] = readdirSync(lab.pins);
    assert.equal(pinnedLinks(layout!).filter((name) => name.startsWith("netns_")).length, 1);
    // The address that the server no longer has may be another's.
    await second.enroll(client, { addresses: [client.ip4, "10.77.9.9"] });
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  test("strict pods that were left stay in force while something could not be enrolled", async () => {
    const first = await pinned();
    await first.enroll(client, strict);
    await first.enroll(server);
    await first.process.kill("SIGKILL");
    await using second = await pinned();
    await second.enroll(outsider, { addresses: [client.ip4] });
    await assert.rejects(second.enroll(client, strict), /client: address 10\.77\.0\.1 is pod outsider's/);
    await second.process.call("release", client.name);
    await second.process.call("release", outsider.name);
    await second.process.call("settle", { keepsStrict: true });
    assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM");
    assert.equal(who(await outsider.dial(client.ip6, 7000)), "ECONNREFUSED");
    assert.equal(who(await outsider.dial(server.ip4, 7000)), "server");
    await second.process.call("close");
    assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM", "after a clean end too");
  });

  test("a strict pod under load: no connect gets past the proxy while it is killed and another takes over", async () => {
    let proxy = await pinned();
    await proxy.enroll(client, strict);
    await proxy.process.call("settle");
    await client.app.call("startDialling", { host: outsider.ip4, port: 7000 });
    for (let round = 0; round < 3; round++) {
      await proxy.process.kill("SIGKILL");
      proxy = await pinned({ ...(round === 1 && { objects: otherLayout }) });
      await proxy.enroll(client, strict);
      await proxy.process.call("settle");
      assert.equal(who(await client.dial(outsider.ip4, 7000)), "proxy outbound");
    }
    const dialled = await client.app.call("stopDialling");
    await proxy.process.kill();
    const outcomes = new Set(dialled.map(who));
    // A connection that the dying proxy had accepted is reset.
    for (const outcome of ["ECONNRESET", "ECONNREFUSED", undefined]) outcomes.delete(outcome);
    assert.deepEqual([...outcomes].sort(), ["EPERM", "proxy outbound"]);
    assert.ok(dialled.length > 100, `${dialled.length}`);
  });

  test("another layout: the old programs stay in force until all pods are known, then the links get the new ones", async () => {
    const first = await pinned();
    await first.enroll(client, strict);
    await first.enroll(server, strict);
    await first.process.call("settle");
    const before = await first.process.call("descriptors");
    const [oldLayout] = readdirSync(lab.pins);
    await first.process.kill("SIGKILL");

    await using second = await pinned({ objects: otherLayout });
    assert.deepEqual(readdirSync(lab.pins).length, 2);
    await second.enroll(client, strict);
    assert.equal(
      who(await client.dial(outsider.ip4, 7000)),
      "EPERM",
      "listeners are there, the hooks are the old ones",
    );
    assert.equal(who(await outsider.dial(server.ip4, 7000)), "ECONNREFUSED");
    await second.enroll(server, strict);
    await second.process.call("settle");
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
    assert.equal(who(await outsider.dial(server.ip4, 7000)), "proxy inbound");

    const after = await second.process.call("descriptors");
    assert.deepEqual(new Set(after.links), new Set(before.links), "links are never gone");
    assert.equal(readdirSync(lab.pins).includes(oldLayout!), false);
    await assertGone({ links: [], maps: before.maps, programs: before.programs });
  });

  test("a replacement that was cut short is completed by the new version, or undone by the old", async () => {
    for (const finishing of [otherLayout, undefined]) {
      const first = await pinned();
      await first.enroll(client, strict);
      await first.process.call("settle");
      await first.process.kill("SIGKILL");
      const second = await pinned({ objects: otherLayout });
      await second.enroll(client, strict);
      await second.process.kill("SIGKILL");
      assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM");

      await using third = await pinned(finishing === undefined ? {} : { objects: finishing });
      assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM");
      await third.enroll(client, strict);
      await third.process.call("settle");
      assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
      assert.equal(readdirSync(lab.pins).length, 1);
      await third.process.kill();
      uninstallInstance(lab.pins);
    }
  });

  test("a start that fails leaves in force what was, and nothing where nothing was", async () => {
    await assert.rejects((await lab.proxy("outside-its-cgroup")).process.call("start", { pins: lab.pins }), /enter it/);
    assert.equal(existsSync(lab.pins), false);

    const first = await pinned();
    await first.enroll(client, strict);
    await first.process.call("settle");
    await first.process.kill("SIGKILL");
    for (const objects of [undefined, otherLayout]) {
      const second = await lab.proxy("outside-its-cgroup");
      const options = { pins: lab.pins, ...(objects && { objects }) };
      await assert.rejects(second.process.call("start", options), /enter it/);
      assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM");
      await second.process.kill();
    }
    await using third = await pinned();
    await third.enroll(client, strict);
    await third.process.call("settle");
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  test("closed without strict pods nothing is left; with one, that one's connections fail until it is enrolled again", async () => {
    const first = await pinned();
    await first.enroll(client);
    await first.process.call("settle");
    const ids = await first.process.call("descriptors");
    await first.process.call("close");
    assert.equal(existsSync(dirname(lab.pins)), false);
    await assertGone(ids);
    assert.equal(who(await client.dial(server.ip4, 7000)), "server");
    await first.process.kill();

    const second = await pinned();
    await second.enroll(client, strict);
    await second.enroll(server);
    await second.process.call("settle");
    await second.process.call("close");
    assert.deepEqual(listeningPorts(client), [7000]);
    assert.equal(who(await client.dial(server.ip4, 7000)), "EPERM");
    assert.equal(who(await outsider.dial(server.ip4, 7000)), "server", "the other pod is withdrawn");
    await second.process.kill();

    await using third = await pinned();
    await third.enroll(client, strict);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  test("a cgroup that was removed and made again is looked at again, and its dead link is let go of", async () => {
    const first = await pinned();
    await first.enroll(client);
    await first.process.call("settle");
    await first.process.kill("SIGKILL");
    rmdirSync(lab.proxyCgroup);
    mkdirSync(lab.proxyCgroup);
    await using second = await pinned();
    await second.enroll(client);
    await second.process.call("settle");
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  test("a second proxy for the same pins, or the same pods, is refused and told which process holds them", async () => {
    const first = await pinned();
    await first.enroll(client);
    await using second = await lab.proxy();
    const holder = new RegExp(`process ${first.process.pid} \\(.*proxy-process\\.[jt]s .*, in /.*\\) is a Culvert`);
    for (const pins of [lab.pins, `${lab.pins}-2`]) {
      await assert.rejects(second.process.call("start", { pins }), holder);
    }
    await assert.rejects(
      second.process.call("start", { pins: `${lab.pins}-2` }),
      new RegExp(`take ${lab.podsCgroup}: `),
    );
    assert.throws(() => uninstallInstance(lab.pins), holder);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");

    await first.process.kill("SIGKILL");
    await second.process.call("start", { pins: lab.pins });
    await second.process.call("close");
    rmdirSync(`${lab.pins}-2`);
  });

  test("uninstalling removes what a killed proxy left, and opens its strict pods", async () => {
    const first = await pinned();
    await first.enroll(client, strict);
    await first.process.call("settle");
    const ids = await first.process.call("descriptors");
    await first.process.kill("SIGKILL");
    const second = await pinned({ objects: otherLayout });
    await second.process.kill("SIGKILL");

    const { layouts, namespaces, links, maps } = uninstallInstance(lab.pins);
    assert.deepEqual([layouts.length, namespaces.size], [2, 1]);
    const found: bigint[] = [];
    forNamespaces(namespaces, (netns) => found.push(fstatSync(netns, { bigint: true }).ino));
    assert.deepEqual(found, [statSync(client.netnsPath, { bigint: true }).ino]);
    assert.ok(links >= ids.links.length && maps > ids.maps.length);
    assert.equal(existsSync(dirname(lab.pins)), false);
    await assertGone(ids);
    assert.equal(who(await client.dial(server.ip4, 7000)), "server");
  });

  test("a full map is told by name and size, and what was there stays; room that becomes free is used", async () => {
    await using proxy = await lab.proxy();
    await proxy.process.call("start", { objects: smallMap });
    const address = (index: number) => `10.77.1.${index}`;
    const set = (addresses: string[]) => proxy.process.call("setDestinations", { addresses, cidrs: [] });
    await set([server.ip4, ...[1, 2, 3].map(address)]);
    await proxy.enroll(client);
    const message = /BPF map destinations is full: 5 are wanted, and one node can have 4/;
    await assert.rejects(set([server.ip4, ...[1, 2, 3, 4].map(address)]), message);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
    await set([server.ip4, ...[5, 6, 7].map(address)]);
    assert.equal(who(await client.dial(server.ip4, 7000)), "proxy outbound");
  });

  test("pins are refused where there is no bpf file system, and where a name has a dot", async () => {
    await using proxy = await lab.proxy();
    await assert.rejects(
      proxy.process.call("start", { pins: "/run/culvert-test" }),
      /it is on no bpf file system; choose/,
    );
    assert.equal(existsSync("/run/culvert-test"), false);
    await assert.rejects(proxy.process.call("start", { pins: "/sys/fs/bpf/a.b" }), /knows no dots in names/);
  });

  /** The kernel frees programs and maps a moment later; there is no event to wait for. */
  async function assertGone(ids: Parameters<typeof stillThere>[0]): Promise<void> {
    const program = await tool("bpf-objects");
    const none = { links: [], maps: [], programs: [] };
    const { links, maps, programs } = ids;
    const left = () => stillThere({ links, maps, programs }, program);
    const deadline = performance.now() + 5000;
    while (Object.values(left()).some(({ length }) => length > 0) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(left(), none);
  }
});
