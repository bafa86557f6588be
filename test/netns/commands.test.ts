// The commands as an operator types them, against a node that carries traffic.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import { unzipSync } from "fflate";
import type {
  ConnectionsReport,
  EventsReport,
  PodReport,
  ServicesReport,
  StatusReport,
  WhyReport,
} from "../../src/telemetry/reports.ts";
import { echo } from "./harness/applications.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { MeshNode } from "./harness/mesh-node.ts";
import { tool } from "./harness/tools.ts";

async function start(mesh: Mesh) {
  const node = mesh.node("a");
  const client = node.pod("client", { whenProxyDown: "deny" });
  const server = node.pod("server", { outboundOptOut: [{ ports: [25] }] }).serve(echo(7000));
  const echoes = mesh.service("echo", { port: 7000, endpoints: [server] });
  const none = mesh.service("none", { port: 7001, endpoints: [] });
  return { node, client, server, echoes, none };
}

/** Lines of a table, columns by header. */
function rows(stdout: string): Record<string, string>[] {
  const [header, ...lines] = stdout.split("\n").map((line) => line.split(/ {3,}/));
  return lines.map((cells) => Object.fromEntries(header!.map((name, i) => [name, cells[i] ?? ""])));
}

async function text(node: MeshNode, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await node.command(args);
  assert.equal(code, 0, `${args}: ${stderr}${stdout}`);
  return stdout;
}

test("status, pods, services and connections show what the node does, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const { node, client, server, echoes, none } = await start(mesh);
  const culvert = await node.culvert();
  const sockets = [];
  for (const address of [echoes.ipv4, echoes.ipv6]) {
    const socket = await (await client.socket()).connect(address, 7000);
    await socket.send("hello");
    assert.equal(await socket.receive(5), "hello");
    sockets.push(socket);
  }
  const inbound = await (await node.outside("laptop").socket()).connect(server.ipv4, 7000);

  const status = await node.report<StatusReport>("status");
  assert.deepEqual([status.node, status.ready, status.live, status.pid], ["a", true, true, culvert.pid]);
  assert.deepEqual(status.pods, { enrolled: 2, notEnrolled: 0 });
  assert.deepEqual(status.connections.open, { outbound: 2, inbound: 1 });
  assert.deepEqual(status.connections.bytes.outbound, { sent: 10, received: 10 });
  assert.match(await text(node, "status"), /^state {2,}ready$/m);

  const { pods } = await node.report<{ pods: PodReport[] }>("pods");
  assert.deepEqual(
    pods.map(({ name, state, whenProxyDown, optOuts }) => [name, state, whenProxyDown.outbound, optOuts]),
    [
      ["default/client", "enrolled", "deny", 0],
      ["default/server", "enrolled", "pass", 1],
    ],
  );

  const services = rows(await text(node, "services"));
  assert.deepEqual(
    services.map(({ NAME, PORT, ENDPOINTS }) => [NAME, PORT, ENDPOINTS]),
    [
      ["default/echo", "7000", "1/1"],
      ["default/none", "7001", "0/0"],
    ],
  );
  const { services: found } = await node.report<ServicesReport>("services", "echo");
  assert.deepEqual(
    found[0]!.ports[0]!.endpoints.map(({ address, isEligible, openConnections, transport }) => [
      address,
      isEligible,
      openConnections,
      transport,
    ]),
    [
      [`${server.ipv4}:7000`, true, 1, "local"],
      [`[${server.ipv6}]:7000`, true, 1, "local"],
    ],
  );
  assert.equal((await node.command(["services", "nothing"])).code, 5);

  const all = await node.report<ConnectionsReport>("connections");
  assert.deepEqual([all.open, all.matching, all.connections.length, all.silentWorkers], [3, 3, 3, []]);
  const shown = async (filter: Record<string, string>) => {
    const { status, body } = await culvert.get(`/connections?${new URLSearchParams(filter)}`);
    assert.equal(status, 200, body);
    return (JSON.parse(body) as ConnectionsReport).connections.map((it) => it.destination);
  };
  assert.deepEqual(await shown({ direction: "inbound" }), [`${server.ipv4}:7000`]);
  assert.deepEqual(await shown({ pod: "default/client" }), [`${echoes.ipv4}:7000`, `[${echoes.ipv6}]:7000`]);
  assert.deepEqual(await shown({ service: "echo", address: echoes.ipv6 }), [`[${echoes.ipv6}]:7000`]);
  assert.deepEqual(await shown({ service: "none" }), []);
  assert.equal((await shown({ limit: "1" })).length, 1);
  assert.equal((await culvert.get("/connections?limit=100000")).status, 400);
  const filter = ["--direction", "outbound", "--pod", "client", "--service", "echo"];
  const [first] = rows(await text(node, "connections", ...filter, "--address", `${echoes.ipv4}:7000`));
  assert.deepEqual(
    [first!.POD, first!.SERVICE, first!.ENDPOINT, first!.STATE, first!.SENT],
    ["default/client", "default/echo:7000", `default/server ${server.ipv4}:7000`, "open", "5B"],
  );
  await sockets[0]!.shutdown();
  await culvert.connections(1);
  assert.equal((await node.report<ConnectionsReport>("connections")).open, 2);
  await inbound.close();
  void none;
});

test("why says it in words, and its exit code tells what becomes of the connection", async () => {
  await using mesh = await Mesh.start();
  const { node, server } = await start(mesh);
  await node.culvert();
  const why = async (...args: string[]) => {
    const { code, stdout, stderr } = await node.command(["why", ...args]);
    return { code, output: stdout + stderr };
  };
  const carried = await why("client", "echo:7000");
  assert.equal(carried.code, 0);
  assert.match(carried.output, /default\/client → 10\.96\.0\.10:7000: the proxy carries it/);
  assert.match(carried.output, /default\/client → \[fd00:96::a\]:7000: the proxy carries it/);
  assert.match(carried.output, /\(captured_outbound\)/);
  assert.match(carried.output, new RegExp(`default/server +${server.ipv4}:7000 +a +local +yes`));
  const refused = await why("client", "none:7001");
  assert.deepEqual([refused.code, /refused_no_endpoint/.test(refused.output)], [7, true]);
  const passed = await why("client", "198.51.100.1:443");
  assert.deepEqual([passed.code, /pass_no_interest/.test(passed.output)], [6, true]);
  const unknown = await why("clent", "echo:7000");
  assert.deepEqual([unknown.code, /did you mean default\/client\?/.test(unknown.output)], [5, true]);
  assert.equal((await why("client", "nowhere:80")).code, 5);
  assert.equal((await why("client", "echo")).code, 2);
  assert.equal((await why("client")).code, 2);
  const { connections } = await node.report<WhyReport>("why", "default/client", `[${server.ipv6}]:7000`);
  assert.deepEqual([connections[0]!.route!.to, connections[0]!.route!.name], ["workload", "default/server"]);
});

test("why and services tell of each endpoint whether it may be chosen and why, as the worker sees it", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const endpoints = [
    node.pod("good").serve(echo(7000)),
    node.pod("refusing"),
    node.pod("starting", { record: { ready: false } }).serve(echo(7000)),
  ];
  const service = mesh.service("echo", { port: 7000, endpoints });
  const culvert = await node.culvert({ workers: 1 });
  for (const address of [service.ipv4, service.ipv6]) {
    const to = address.includes(":") ? `[${address}]:7000` : `${address}:7000`;
    const told = async () => {
      const { body } = await culvert.get(`/why?workload=client&to=${encodeURIComponent(to)}`);
      const { connections } = JSON.parse(body) as WhyReport;
      return connections[0]!.route!.endpoints.map(({ name, isEligible, why }) => ({ name, isEligible, why }));
    };
    assert.deepEqual(
      (await told()).map(({ name, isEligible }) => [name, isEligible]),
      [
        ["default/good", true],
        ["default/refusing", true],
        ["default/starting", false],
      ],
    );
    const ejections = () => culvert.log.items.filter(({ msg }) => msg === "endpoint ejected").length;
    const before = ejections();
    for (let i = 0; ejections() === before && i < 100; i++) {
      await client.run(await tool("dial-as"), "tcp", address, "7000"); // Until the other of the two is drawn.
    }
    const [good, refusing, starting] = await told();
    assert.deepEqual(good, { name: "default/good", isEligible: true, why: "ready" });
    // For a second and a half at first.
    assert.match(refusing!.why, /^(ejected for \d+ s|to be probed): connecting failed/);
    assert.equal(refusing!.isEligible, refusing!.why.startsWith("to be probed"));
    assert.match(starting!.why, /not ready/);
  }
  assert.match(await text(node, "services"), /default\/echo .* [12]\/3$/m);
  const { events } = await node.report<EventsReport>("events");
  assert.equal(events.filter(({ event }) => event === "endpoint ejected").length, 2);
});

test("why tells of fail open and fail closed while every worker hangs", async () => {
  await using mesh = await Mesh.start();
  const { node, client, echoes } = await start(mesh);
  const permissive = node.pod("permissive");
  const culvert = await node.culvert({ workers: 1, env: { CULVERT_TEST_BUSY: "0", NODE_ENV: "test" } });
  await (await permissive.socket()).connect(echoes.ipv4, 7000);
  for (let i = 0; (await culvert.get("/live")).status === 200 && i < 300; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50)); // Nothing tells that 3 s are over.
  }
  const reasonFor = async (pod: string, address: string) => {
    const { body } = await culvert.get(`/why?workload=${pod}&to=${encodeURIComponent(address)}`);
    return (JSON.parse(body) as WhyReport).connections[0]!.connect.reason;
  };
  for (const address of [echoes.ipv4, echoes.ipv6]) {
    const to = address.includes(":") ? `[${address}]:7000` : `${address}:7000`;
    assert.equal(await reasonFor("client", to), "deny_no_heartbeat");
    assert.equal(await client.run(await tool("dial-as"), "tcp", address, "7000"), "connect: EPERM");
    assert.equal(await reasonFor("permissive", to), "pass_no_heartbeat");
    assert.equal(await permissive.run(await tool("dial-as"), "tcp", address, "7000"), "connected directly");
  }
  const { silentWorkers } = JSON.parse((await culvert.get("/connections")).body) as ConnectionsReport;
  assert.deepEqual(silentWorkers, [0], "a worker that hangs is said to be missing, and waited for a second only");
  await culvert.kill();
});

test("events remember what the log said, whatever its level; log-level changes what is logged, connections too", async () => {
  await using mesh = await Mesh.start();
  const { node, client, echoes } = await start(mesh);
  const culvert = await node.culvert();
  const dial = async () => client.run(await tool("dial-as"), "tcp", echoes.ipv4, "7000");
  await dial();
  await culvert.connections(1);
  assert.equal(await text(node, "log-level"), "info");
  assert.equal(await text(node, "log-level", "error"), "error");
  const lines = culvert.log.items.length;
  await dial();
  const ended = async () => (await culvert.metrics()).sum("culvert_connections_closed_total", { result: "ok" });
  for (let i = 0; (await ended()) < 2 && i < 300; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(await text(node, "log-level", "info"), "info");
  await dial();
  await culvert.connections(2);
  assert.deepEqual(
    culvert.log.items.slice(lines).map(({ msg }) => msg),
    ["log level changed", "connection"],
    "what happened at level error is not in the log",
  );
  const { events } = await node.report<EventsReport>("events");
  assert.deepEqual(
    events.map(({ event }) => event),
    ["pod enrolled", "pod enrolled", "ready", "log level changed", "log level changed"],
  );
  assert.equal((await node.report<EventsReport>("events", "--limit", "1")).events[0]!.details.level, undefined);
  assert.match(await text(node, "events"), /pod enrolled +pod=default\/client/);
  assert.equal((await node.command(["log-level", "loud"])).code, 2);
});

test("sysdump writes one archive that only its owner reads, without environment, keys or file contents", async () => {
  await using mesh = await Mesh.start();
  const { node } = await start(mesh);
  const culvert = await node.culvert({ env: { CULVERT_SECRET: "s3cr3t-in-environment" } });
  const key = "-----BEGIN PRIVATE KEY-----";
  writeFileSync(node.meshFile, `${readFileSync(node.meshFile, "utf8")}\n# ${key}\n`);
  const file = `${mesh.directory}/dump.zip`;
  const how = { env: { CULVERT_SECRET: "s3cr3t-in-environment" } };
  assert.equal((await node.command(["sysdump", "--file", file], how)).code, 0);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const texts = archiveOf(file);
  assert.deepEqual([...texts.keys()].sort(), [
    "check.json",
    "config.json",
    "connections.json",
    "events.json",
    "live.txt",
    "machine.json",
    "metrics.txt",
    "pods.json",
    "ready.txt",
    "services.json",
    "status.json",
  ]);
  assert.equal((JSON.parse(texts.get("status.json")!) as StatusReport).pid, culvert.pid);
  assert.match(texts.get("config.json")!, /"fd00:96::a"/);
  for (const [name, content] of texts) {
    assert.ok(!content.includes("s3cr3t-in-environment") && !content.includes(key), `${name} holds a secret`);
  }
  assert.equal((await node.command(["sysdump", "--file", file])).code, 1, "it replaces no file");
  await stillRuns(culvert);
});

test("sysdump says in words what it could not collect, and writes the archive all the same", async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  await mesh.up();
  const notCulvert = createServer((_, response) => response.end("hello")).listen(`${mesh.directory}/other.sock`);
  t.after(() => notCulvert.close());
  await once(notCulvert, "listening");
  const file = `${mesh.directory}/dump.zip`;
  const hide = "mount -t tmpfs none /proc/sys/net; mount -t tmpfs none /sys/fs/bpf; touch /sys/fs/bpf/culvert";
  const through = ["unshare", "--mount", "sh", "-c", `${hide}; exec "$@"`, "sh"];
  const dump = (args: string[]) => node.command(["sysdump", "--file", file, ...args], { through });
  for (const [args, says] of [
    [[], { "status.json": /there is no such socket/ }],
    [["--socket", `${mesh.directory}/other.sock`], { "check.json": /something else than Culvert listens there/ }],
  ] as const) {
    const { code, stdout, stderr } = await dump([...args]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^wrote /);
    const texts = archiveOf(file);
    assert.equal(texts.size, 11);
    const all: Record<string, RegExp> = {
      "machine.json": /"net.core.somaxconn": "could not be read: no such file or directory"/,
      ...says,
    };
    for (const [name, expected] of Object.entries(all)) assert.match(texts.get(name)!, expected);
    assert.match(
      texts.get("check.json")!,
      /have left in \/sys\/fs\/bpf\/culvert could not be looked at: not a directory"/,
    );
    for (const [name, text] of texts) assert.doesNotMatch(text, /\bE[A-Z]{3,}: |SyntaxError|Unexpected token/, name);
    rmSync(file);
  }
  const { code, stderr } = await node.command(["sysdump", "--file", "/nowhere/dump.zip"]);
  assert.equal(code, 1);
  assert.match(stderr, /^culvert: write the archive \/nowhere\/dump\.zip: no such file or directory; name a new file/);
});

function archiveOf(file: string): Map<string, string> {
  const entries = Object.entries(unzipSync(readFileSync(file)));
  return new Map(entries.map(([name, bytes]) => [name.replace("culvert-sysdump/", ""), Buffer.from(bytes).toString()]));
}

async function stillRuns(culvert: Culvert): Promise<void> {
  assert.equal((await culvert.get("/ready")).status, 200);
}

test("a command whose node cannot be asked says why and what to do, each with an exit code of its own", async () => {
  await using mesh = await Mesh.start();
  const { node } = await start(mesh);
  const culvert = await node.culvert();
  const failing = async (expected: number, says: RegExp, args: string[], how = {}) => {
    const { code, stdout, stderr } = await node.command(args, how);
    assert.deepEqual([code, stdout], [expected, ""], stderr);
    assert.match(stderr, says);
  };
  const nobody = ["setpriv", "--reuid=65534", "--clear-groups"];
  await failing(4, /permission denied; the socket is its owner's alone: run this command as root/, ["status"], {
    through: ["setpriv", "--bounding-set=-dac_override,-dac_read_search", ...nobody],
  });
  await failing(3, /there is no such socket; start it with culvert node/, ["pods", "--socket", "/run/nowhere.sock"]);
  for (const [path, kind] of [
    [node.meshFile, "a plain file"],
    [mesh.directory, "a directory"],
  ] as const) {
    const says = new RegExp(`Culvert of ${path}: that is ${kind}, not a socket; name the node's node.admin.socket`);
    await failing(3, says, ["pods", "--socket", path]);
    const { code, stdout } = await node.command(["check", "--socket", path]);
    assert.equal(code, 1);
    assert.ok(stdout.includes(`${path}: that is ${kind}, not a socket\n    → name the node's`), stdout);
  }
  assert.equal((await node.command(["version"])).code, 0);
  await culvert.kill();
  for (const command of [["status"], ["log-level", "warn"]]) {
    await failing(3, /nobody listens there any more; .*start culvert node again/, command);
  }
  assert.match((await node.command(["version"])).stdout, /^running +none$/m);
});

test("config validate tells every mistake with its place, or that there is none", async () => {
  await using mesh = await Mesh.start();
  const { node } = await start(mesh);
  await mesh.up();
  const good = node.writeMesh();
  assert.match(await text(node, "config", "validate", good), /is valid: 2 workloads, 2 services; node a has 2 pods/);
  const wrong = `${mesh.directory}/wrong.yaml`;
  writeFileSync(wrong, "node:\n  nam: a\n  cgroups: { pods: relative }\n");
  const { code, stderr } = await node.command(["config", "validate", wrong]);
  assert.equal(code, 1);
  assert.match(stderr, /wrong\.yaml:2:3: node\.nam: is no key known here; did you mean name\?/);
  assert.match(stderr, /wrong\.yaml:3:20: node\.cgroups\.pods: /);
  const json = await node.command(["config", "validate", wrong, "-o", "json"]);
  const { valid, problems } = JSON.parse(json.stdout) as { valid: boolean; problems: { line: number }[] };
  assert.deepEqual([json.code, valid, problems.map(({ line }) => line)], [1, false, [2, 2, 3]]);
});

interface ConfigPage {
  readonly file: string;
  readonly version: number;
  readonly node: { readonly name: string; readonly workers: number; readonly pins: string; readonly logLevel: string };
  readonly workloads: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly services: readonly { readonly name: string; readonly endpoints: readonly string[] }[];
  readonly pods: readonly { readonly name: string; readonly addresses: readonly string[] }[];
}

test("/config of the admin socket is what is in force: at the start, after a reload and after one that was refused", async () => {
  await using mesh = await Mesh.start();
  const { node, client, server, echoes } = await start(mesh);
  const culvert = await node.culvert({ workers: 2, podCidrs: ["10.244.0.0/16", "fd00:244::/32"] });
  const page = async () => {
    const { status, body } = await culvert.get("/config");
    assert.equal(status, 200);
    return JSON.parse(body) as ConfigPage;
  };
  /** What the commands and the traffic say is in force. */
  const assertInForce = async (config: ConfigPage) => {
    const { mesh: running } = await node.report<StatusReport>("status");
    assert.deepEqual(
      [config.file, config.version, config.workloads.length, config.services.length],
      [running.file, running.version, running.workloads, running.services],
    );
    const { pods } = await node.report<{ pods: PodReport[] }>("pods");
    assert.deepEqual(
      config.pods.map(({ name, addresses }) => ({ name, addresses })),
      pods.map(({ name, addresses }) => ({ name, addresses })),
    );
    const endpoints = config.services.find(({ name }) => name === "echo")!.endpoints;
    for (const address of [echoes.ipv4, echoes.ipv6]) {
      const said = await client.run(await tool("dial-as"), "tcp", address, "7000");
      assert.equal(said.startsWith("connected"), endpoints.length > 0, said);
    }
  };

  const first = await page();
  assert.deepEqual(
    [first.file, first.version, first.node.name, first.node.workers, first.node.pins, first.node.logLevel],
    [node.meshFile, 1, "a", 2, node.pins, "info"],
  );
  assert.deepEqual((first.node as unknown as { podCidrs: string[] }).podCidrs, ["10.244.0.0/16", "fd00:244::/32"]);
  assert.deepEqual(first.workloads.find(({ name }) => name === "server")!.addresses, [server.ipv4, server.ipv6]);
  assert.deepEqual(first.services.find(({ name }) => name === "echo")!.endpoints, ["default/server"]);
  await assertInForce(first);

  echoes.endpoints = [];
  node.pod("late");
  await node.reload();
  const second = await page();
  assert.equal(second.version, 2);
  assert.deepEqual(second.services.find(({ name }) => name === "echo")!.endpoints, []);
  assert.deepEqual(
    second.pods.map(({ name }) => name),
    ["default/client", "default/server", "default/late"],
  );
  await assertInForce(second);

  const wrong = readFileSync(node.meshFile, "utf8").replace("name: late", "nam: late");
  writeFileSync(node.meshFile, wrong);
  await culvert.log.find("the refusal", ({ msg }) => msg.startsWith("mesh not reloaded"));
  const third = await page();
  assert.deepEqual(third, second);
  await assertInForce(third);
});
