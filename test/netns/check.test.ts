// `culvert check` with faults made on purpose: each is named, with what to do about it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { parse, stringify } from "yaml";
import type { CheckedPart } from "../../src/app/check/check.ts";
import { closeFd } from "../../src/kernel/bpf-map.ts";
import { encodeU32, layout } from "../../src/kernel/layout.ts";
import { native } from "../../src/runtime/native.ts";
import type { Finding } from "../../src/telemetry/reports.ts";
import { echo } from "./harness/applications.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { CommandOptions, MeshNode } from "./harness/mesh-node.ts";

/** What `culvert check` finds that is not well. The exit code says whether a × is among it. */
async function problems(node: MeshNode, args: readonly string[], how?: CommandOptions): Promise<Finding[]> {
  const { code, stdout, stderr } = await node.command(["check", "-o", "json", ...args], how);
  assert.equal(stderr, "");
  const { parts } = JSON.parse(stdout) as { parts: CheckedPart[] };
  const found = parts.flatMap(({ findings }) => findings).filter(({ state }) => state !== "ok");
  assert.equal(code, found.some(({ state }) => state === "fault") ? 1 : 0);
  return found;
}

interface Expected {
  readonly check: string;
  readonly state: Finding["state"];
  readonly says: RegExp;
  readonly fix: RegExp;
}

function assertNamed(found: readonly Finding[], { check, state, says, fix }: Expected, title: string): void {
  const named = found.some(
    (it) => it.check === check && it.state === state && says.test(it.message) && fix.test(it.fix),
  );
  assert.ok(named, `${title}: ${state} ${check} ${says} is not among ${JSON.stringify(found, undefined, 2)}`);
}

const without = (script: string) => ["unshare", "--mount", "sh", "-c", `${script}; exec "$@"`, "sh"];
const withoutCgroup2 = `awk '$3 == "cgroup2" { print $2 }' /proc/self/mounts | xargs -r -n1 umount -l`;

/** No event tells: asked again and again. */
async function untilSo(isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("not so within 15 s");
}

/** One mesh.yaml with something changed. */
function changed(mesh: Mesh, name: string, original: string, change: (document: Document) => void): string {
  const document = parse(readFileSync(original, "utf8")) as Document;
  change(document);
  const path = `${mesh.directory}/${name}.yaml`;
  writeFileSync(path, stringify(document));
  return path;
}

interface Document {
  node: { cgroups: { pods: string }; admin: { address?: string }; pins: string };
  workloads: { netns?: string }[];
}

test("check names what is wrong with the machine, with its fix, without a node", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  await mesh.up();
  const faults: (Expected & { title: string; how: CommandOptions })[] = [
    {
      title: "no cgroup v2",
      how: { through: without(withoutCgroup2) },
      check: "cgroup",
      state: "fault",
      says: /no cgroup v2 is mounted/,
      fix: /mount -t cgroup2/,
    },
    {
      title: "a capability is missing",
      how: { through: ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"] },
      check: "privileges",
      state: "fault",
      says: /lacks CAP_NET_ADMIN$/,
      fix: /as root/,
    },
    {
      title: "the descriptor limit is too low for anything",
      how: { through: ["prlimit", "--nofile=1024:1024"] },
      check: "descriptors",
      state: "fault",
      says: /1024 descriptors/,
      fix: /LimitNOFILE/,
    },
    {
      title: "the descriptor limit is low",
      how: { through: ["prlimit", "--nofile=8000:8000"] },
      check: "descriptors",
      state: "warning",
      says: /room for 4000 connections/,
      fix: /LimitNOFILE/,
    },
    {
      title: "no bpf file system is mounted",
      how: { through: without("umount -l /sys/fs/bpf") },
      check: "bpffs",
      state: "warning",
      says: /no bpf file system/,
      fix: /mount -t bpf bpf \/sys\/fs\/bpf/,
    },
    {
      title: "the kernel lacks what nothing replaces",
      how: { env: { NODE_ENV: "test", CULVERT_TEST_WITHOUT: "sk_lookup" } },
      check: "kernel",
      state: "fault",
      says: /no sk_lookup \(requires >= v5\.9\)/,
      fix: /newer kernel/,
    },
    {
      title: "the kernel lacks what something replaces",
      how: { through: without("mount -t tmpfs none /proc/sys/net/ipv4") },
      check: "kernel",
      state: "warning",
      says: /no tcp_fwmark_accept .*; instead: the pod's own address/,
      fix: /newer kernel/,
    },
    {
      title: "the BPF objects were not built",
      how: { env: { NODE_ENV: "test", CULVERT_TEST_BPF: "/nowhere" } },
      check: "installation",
      state: "fault",
      says: /no BPF objects are in \/nowhere/,
      fix: /npm run setup/,
    },
    {
      title: "no node runs",
      how: {},
      check: "running",
      state: "warning",
      says: /does not run/,
      fix: /culvert node --config/,
    },
  ];
  if (existsSync("/proc/self/timens_offsets")) {
    faults.push({
      title: "the clock is not the kernel's",
      how: { through: ["unshare", "--time", "--monotonic", "86400", "--fork"] },
      check: "clock",
      state: "fault",
      says: /86400 s off/,
      fix: /machine's own time namespace/,
    });
  } else t.diagnostic("no time namespaces in this kernel: the clock's fault cannot be made");
  for (const { title, how, ...expected } of faults) assertNamed(await problems(node, [], how), expected, title);
});

test("check fails where --socket names a node that does not run, and says which socket is not there", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  await mesh.up();
  const found = await problems(node, ["--socket", "/nope", "-c", node.writeMesh()]);
  assertNamed(
    found,
    { check: "running", state: "fault", says: /\/nope: there is no such socket/, fix: /start it with culvert node/ },
    "a socket that is not there",
  );
});

test("check names what of a mesh file does not fit the machine, with its fix, before anything is started", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const pod = node.pod("web").serve(echo(7000));
  await mesh.up();
  const good = node.writeMesh();
  assert.deepEqual(
    (await problems(node, ["-c", good])).filter(({ check }) => !["descriptors", "running"].includes(check)),
    [],
    "nothing else is wrong",
  );
  const taken = createServer().listen(0, "127.0.0.1");
  t.after(() => taken.close());
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as { port: number };
  await pod.listen(layout.MESH_PORT_INBOUND);

  const faults: (Expected & { title: string; change: (document: Document) => void })[] = [
    {
      title: "the file is not valid",
      change: (it) => Object.assign(it.node, { podCidr: [] }),
      check: "config",
      state: "fault",
      says: /:\d+:\d+: node\.podCidr: is no key known here; did you mean podCidrs\?/,
      fix: /correct these/,
    },
    {
      title: "the pods' cgroup is not there",
      change: (it) => {
        it.node.cgroups.pods += "/gone";
      },
      check: "pods-cgroup",
      state: "fault",
      says: /pods\/gone does not exist/,
      fix: /name the cgroup above all pods/,
    },
    {
      title: "the pods' cgroup is none",
      change: (it) => {
        it.node.cgroups.pods = mesh.directory;
      },
      check: "pods-cgroup",
      state: "fault",
      says: /is no cgroup v2 directory/,
      fix: /name the cgroup above all pods/,
    },
    {
      title: "the pods are not below the cgroup",
      change: (it) => {
        it.node.cgroups.pods = `${mesh.cgroup}/holders/empty`;
      },
      check: "pods",
      state: "warning",
      says: /pod default\/web: none of its processes is below/,
      fix: /set node\.cgroups\.pods/,
    },
    {
      title: "a pod's namespace is not there",
      change: (it) => {
        it.workloads[0]!.netns = "/run/netns/gone";
      },
      check: "pods",
      state: "warning",
      says: /pod default\/web: its netns \/run\/netns\/gone does not exist/,
      fix: /start the pod/,
    },
    {
      title: "node.pins is on another file system",
      change: (it) => {
        it.node.pins = `${mesh.directory}/pins/a`;
      },
      check: "pins",
      state: "fault",
      says: /node\.pins: .*\/pins\/a: it is on no bpf file system/,
      fix: /choose a node\.pins below \/sys\/fs\/bpf/,
    },
    {
      title: "node.pins is below a plain file",
      change: (it) => {
        it.node.pins = "/etc/passwd/a";
      },
      check: "pins",
      state: "fault",
      says: /\/etc\/passwd\/a: it is on no bpf file system/,
      fix: /choose a node\.pins below \/sys\/fs\/bpf/,
    },
    {
      title: "a mesh port is taken",
      change: () => {},
      check: "ports",
      state: "fault",
      says: /pod default\/web: port 15006 is taken/,
      fix: /another port/,
    },
    {
      title: "the admin address is taken",
      change: (it) => {
        it.node.admin.address = `127.0.0.1:${port}`;
      },
      check: "ports",
      state: "fault",
      says: new RegExp(`port ${port} is taken`),
      fix: /free port for node\.admin\.address/,
    },
  ];
  mesh.makeCgroup("holders", "empty");
  for (const { title, change, ...expected } of faults) {
    assertNamed(await problems(node, ["-c", changed(mesh, "wrong", good, change)]), expected, title);
  }
});

test("check names what is wrong with a node that runs, and what a killed one left, with its fix", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  node.pod("client");
  await mesh.up();
  const hooks = mesh.makeCgroup("a", "hooks");
  const meshFile = changed(mesh, "running", node.writeMesh({ workers: 2 }), (it) => {
    it.node.cgroups.pods = hooks;
    const [one] = it.workloads;
    it.workloads.push({ ...one!, ...{ name: "gone", addresses: ["10.244.1.99"] }, netns: "/proc/self/ns/net" });
    it.workloads.push({ ...one!, ...{ name: "late", addresses: ["10.244.1.98"] }, netns: "/nowhere" });
  });
  const culvert = await node.startCulvert({ meshFile });
  await culvert.ready();
  const check = async (title: string, expected: Expected) => assertNamed(await problems(node, []), expected, title);

  await check("a pod could not be enrolled", {
    check: "pods",
    state: "fault",
    says: /pod default\/gone is not enrolled: .*the proxy's own network namespace/,
    fix: /correct its netns/,
  });
  writeFileSync(meshFile, `${readFileSync(meshFile, "utf8")}\nnot: valid\n`);
  await culvert.log.find("the refusal", ({ msg }) => msg.startsWith("mesh not reloaded"));
  await check("the mesh file was changed into a wrong one", {
    check: "config",
    state: "warning",
    says: /configuration is stale since .*not: is no key known here/s,
    fix: /culvert config validate/,
  });
  writeFileSync(meshFile, readFileSync(meshFile, "utf8").replace("\nnot: valid\n", ""));
  await check("a pod is not there", {
    check: "pods",
    state: "warning",
    says: /pod default\/late is not there yet: its netns \/nowhere/,
    fix: /start the pod/,
  });
  takeAwayListener(node.pins);
  await check("a listener is missing", {
    check: "listeners",
    state: "fault",
    says: /pod default\/client has no listener/,
    fix: /restart culvert node/,
  });
  rmdirSync(hooks);
  await check("the pods' cgroup was removed under the programs", {
    check: "programs",
    state: "fault",
    says: /culvert_connect4_pods is attached to a cgroup that is gone/,
    fix: /restart culvert node/,
  });
  limitDescriptors(culvert, 100);
  await check("descriptors run out", {
    check: "live",
    state: "fault",
    says: /out of descriptors: \d+ of 100/,
    fix: /restart/,
  });
  await culvert.kill();
  const left = await problems(node, ["-c", meshFile]);
  assertNamed(
    left,
    { check: "running", state: "fault", says: /nobody listens there any more/, fix: /start culvert node again/ },
    "the socket of a dead node",
  );
  assertNamed(
    left,
    {
      check: "pins",
      state: "warning",
      says: /has left \d+ links in force, \d+ of them to what is gone/,
      fix: /culvert uninstall/,
    },
    "the pins of a dead node",
  );
  assert.equal((await node.command(["uninstall", "-c", meshFile])).code, 0);
});

test("check and /live name a worker that hangs", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const service = mesh.service("echo", { port: 7000, endpoints: [node.pod("server").serve(echo(7000))] });
  const culvert = await node.culvert({ workers: 1, env: { CULVERT_TEST_BUSY: "0", NODE_ENV: "test" } });
  assert.equal((await culvert.get("/live")).status, 200);
  await (await client.socket()).connect(service.ipv4, 7000);
  await untilSo(async () => (await culvert.get("/live")).status === 503);
  assertNamed(
    await problems(node, []),
    { check: "heartbeats", state: "fault", says: /worker 0 has not run for \d+ s/, fix: /restart culvert node/ },
    "a worker hangs",
  );
  assert.match((await culvert.get("/live")).body, /worker 0 hangs/);
  await culvert.log.find("the watch's line", ({ msg }) => msg.startsWith("worker hangs"));
  await culvert.kill();
});

/** As a defect would: out of the map, while the socket is still there. */
function takeAwayListener(pins: string): void {
  const [hash] = readdirSync(pins);
  const { fd } = native.bpf("getPinned", { path: `${pins}/${hash}/maps/listeners` });
  native.bpf("mapDelete", { map: fd!, key: encodeU32(layout.LISTENER_OUTBOUND) });
  closeFd(fd!);
}

function limitDescriptors({ pid }: Culvert, limit: number): void {
  execFileSync("prlimit", [`--pid=${pid}`, `--nofile=${limit}:${limit}`]);
}
