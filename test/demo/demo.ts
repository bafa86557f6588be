// `npm run demo`: Culvert on two nodes made of network namespaces, with real applications that know nothing of it.
// Says what it does and shows what each side saw. Everything is removed on exit, error and Ctrl-C; `-- --keep` waits
// for Ctrl-C at the end, so that one can look around. Uses the harness of test/netns.

import { mkdtempSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Culvert } from "../netns/harness/culvert.ts";
import { Mesh } from "../netns/harness/mesh.ts";
import type { Metrics } from "../netns/harness/metrics.ts";
import { Load, requests, type Tally, tally } from "./load.ts";
import { bar, bold, command, count, dim, fact, green, output, red, step, table, title } from "./narrator.ts";
import { declareWorld, otherClients, startWeb, type World } from "./world.ts";

const keeps = process.argv.includes("--keep");

const mesh = await Mesh.start();
let isLeaving = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void leave(130));

try {
  await demonstrate();
  await leave(0);
} catch (error) {
  // What fails because everything is being taken down is no news.
  if (!isLeaving) {
    console.error(`\n${red("The demo failed:")} ${error instanceof Error ? error.message : error}`);
    await leave(1);
  }
}

async function leave(code: number): Promise<void> {
  if (isLeaving) return;
  isLeaving = true;
  try {
    await mesh[Symbol.asyncDispose]();
    console.log(dim("\nAll namespaces, cgroups, processes and files of the demo are removed."));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
  process.exit(code);
}

async function demonstrate(): Promise<void> {
  const world = declareWorld(mesh);
  const { client, web } = world;
  title(
    "Culvert: two nodes of network namespaces, no iptables, no nft, no sidecar",
    "node a, zone one   client · web-1 web-2 (nginx) · redis · sshd",
    "node b, zone two   web-3 (nginx) · postgres · exim · six (nginx, IPv6 only)",
    `services           web ${web.ipv4}, ${web.ipv6} · cache · database · shell · mail · modern (IPv6 only)`,
    `outside            website ${world.website.ipv4} (nginx; the mesh knows nothing of it)`,
  );
  await mesh.up();
  let nginx = await startWeb(world, mkdtempSync(join(mesh.directory, "web-")));

  step("Without Culvert: the service's address leads to one endpoint, as a node's routes would have it");
  const alone = await tally(client, `http://${web.ipv4}/`);
  showShares(world, alone);
  const aloneKept = await tally(client, `http://${web.ipv4}/`, "kept");

  step("Culvert starts on both nodes: nothing is restarted, nothing in a pod is changed");
  const [first, second] = await startBoth(world);
  const before = await first.metrics();

  step("The same curl, the same addresses: now balanced, and kept in the client's zone");
  for (const host of [web.ipv4, `[${web.ipv6}]`, `[::ffff:${web.ipv4}]`]) {
    command(`curl http://${host}/   ${dim(`× ${requests}`)}`);
    showShares(world, await tally(client, `http://${host}/`));
  }

  step("What the hop costs, on this machine and at this moment (figures to rely on: npm run bench)");
  const meshed = await tally(client, `http://${web.ipv4}/`);
  const meshedKept = await tally(client, `http://${web.ipv4}/`, "kept");
  table(
    ["µs per request, median", "without", "with Culvert"],
    [
      ["a new connection each", alone.medianUs, meshed.medianUs],
      ["one connection kept open", aloneKept.medianUs, meshedKept.medianUs],
    ],
  );

  step("Who sees whom");
  for (const host of [web.ipv4, `[${web.ipv6}]`]) await showPeers(world, host);

  step("Other protocols, the other node, servers that speak first: nothing is configured, nothing waits");
  await speakOtherProtocols(world, first);

  step("What is not the mesh's is never touched, only counted");
  command(`curl http://${world.website.ipv4}/`);
  output(await client.run("curl", "-sS", `http://${world.website.ipv4}/`));

  step("What Culvert measured");
  showMetrics(before, await first.metrics());

  step("An endpoint is killed: no connection fails for it, and it is used again when it is back");
  nginx = await killEndpoint(world, first, nginx);

  step("mesh.yaml changes while traffic runs: the service prefers no zone any more");
  await reloadUnderLoad(world);

  step("A mistake in mesh.yaml: it is told where and what was meant, and the running configuration stays");
  await makeMistake(world, first);

  step("Why? Asked of the node, nothing is dialled");
  await ask(world, ["why", "client", "web:80"]);
  await ask(world, ["why", "client", `${world.website.ipv4}:80`]);
  await ask(world, ["services", "web"]);

  step("Is all well? `check` names each fault and its fix");
  await ask(world, ["check"]);

  const restarted = await failAndReturn(world, first);

  if (keeps) await keep(world);
  step("SIGTERM: what is open finishes, then they go");
  for (const [name, culvert] of Object.entries({ a: restarted, b: second })) {
    fact(`exit code on node ${name}`, `${(await culvert.terminate()).code}`);
  }
  fact("curl still works", (await client.run("curl", "-sS", `http://${web.ipv4}/`)).trim());
  nginx.kill("SIGTERM");
}

async function startBoth({ a, b }: World): Promise<[Culvert, Culvert]> {
  command("culvert node --config mesh.yaml   # on each node");
  const start = performance.now();
  const [first, second] = await Promise.all([a.culvert(), b.culvert()]);
  fact("both ready after", `${Math.round(performance.now() - start)} ms`);
  for (const [name, culvert] of Object.entries({ a: first, b: second })) {
    fact(`pods captured on node ${name}`, `${(await culvert.metrics()).sum("culvert_pods_enrolled")}`);
  }
  return [first, second];
}

async function speakOtherProtocols(world: World, culvert: Culvert): Promise<void> {
  const rows: (string | number)[][] = [];
  for (const { typed, words, service } of otherClients(world)) {
    command(typed);
    output((await world.client.run(words[0]!, ...words.slice(1))).trim());
    const line = await culvert.connection((it) => it.service === `default/${service.name}:${service.port}`);
    rows.push([line.service!, line.endpoint!, `${line.protocol} (${line.protocolBy})`]);
  }
  console.log();
  table(["what the access log says of them", "carried to", "speaks (told by)"], rows);
}

async function killEndpoint(world: World, culvert: Culvert, nginx: Awaited<ReturnType<typeof startWeb>>) {
  const { client, web } = world;
  command(`kill -9 ${nginx.pid}   ${dim("# web-1's nginx")}`);
  nginx.kill("SIGKILL");
  await nginx.exited;
  command(`curl http://${web.ipv4}/   ${dim(`× ${requests}`)}`);
  const after = await tally(client, `http://${web.ipv4}/`);
  showShares(world, after);
  fact("failed", count(after.failed));
  const ejected = await culvert.log.find("ejected", ({ msg }) => msg === "endpoint ejected");
  output(dim(`log: ${ejected.msg}: ${ejected.endpoint}, ${ejected.result}`));
  const again = await startWeb(world, mkdtempSync(join(mesh.directory, "web-")));
  // A probe is a connection of somebody's: there must be some.
  for (let i = 0; i < 100 && !culvert.log.items.some(({ msg }) => msg === "endpoint recovered"); i++) {
    await client.run("curl", "-sS", `http://${web.ipv4}/`);
    await setTimeout(100);
  }
  const recovered = await culvert.log.find("recovered", ({ msg }) => msg === "endpoint recovered");
  output(dim(`log: ${recovered.msg}: ${recovered.endpoint}`));
  return again;
}

async function reloadUnderLoad(world: World): Promise<void> {
  const { a, b, client, web } = world;
  const total = 3000;
  command(`curl -Z --parallel-max 8 http://${web.ipv4}/   ${dim(`× ${count(total)}, each a new connection`)}`);
  const load = await Load.start(client, `http://${web.ipv4}/`, total);
  await load.answered(total / 4);
  command(`mv new.yaml mesh.yaml   ${dim(`# with prefer: none, after the first ${count(total / 4)}`)}`);
  web.record = { prefer: "none" };
  const applied = await a.reload();
  await b.reload();
  fact("in force", `version ${applied.version} on node a`);
  const during = await load.ended();
  fact("failed", count(during.failed));
  showShares(world, await tally(client, `http://${web.ipv4}/`));
}

async function makeMistake(world: World, culvert: Culvert): Promise<void> {
  const { a, client, web } = world;
  const good = readFileSync(a.meshFile, "utf8");
  const { length: seen } = culvert.log.items;
  command("sed -i 's/prefer: none/prefer: zones/' mesh.yaml");
  replace(a.meshFile, good.replace("prefer: none", "prefer: zones"));
  await culvert.log.until("refusal", (items) => items.slice(seen).some(({ level }) => level === "error"));
  const refusal = culvert.log.items.slice(seen).find(({ level }) => level === "error")!;
  output(String(refusal.msg).replaceAll(a.meshFile, "mesh.yaml"));
  fact("still served", (await client.run("curl", "-sS", `http://${web.ipv4}/`)).trim());
  replace(a.meshFile, good);
  await culvert.log.until("mesh unchanged", (items) => items.slice(seen).some(({ msg }) => msg === "mesh unchanged"));
}

function replace(path: string, content: string): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

async function ask({ a }: World, words: readonly string[]): Promise<void> {
  command(`culvert ${words.join(" ")}`);
  const { stdout, stderr } = await a.command(words);
  output(`${stdout}${stderr}`.trimEnd());
}

/** Kills Culvert under load and starts another. */
async function failAndReturn({ a, client, web }: World, culvert: Culvert): Promise<Culvert> {
  step("kill -9 under load: fail open");
  const total = 4000;
  command(`curl -Z --parallel-max 8 http://${web.ipv4}/   ${dim(`× ${count(total)}, each a new connection`)}`);
  const load = await Load.start(client, `http://${web.ipv4}/`, total);
  await load.answered(total / 4);
  command(`kill -9 ${culvert.pid}   ${dim(`# after the first ${count(total / 4)}`)}`);
  await culvert.kill();
  const killed = performance.now();
  const answer = await client.run("curl", "-sS", `http://${web.ipv4}/`);
  fact(
    "first new connection",
    `${answer.trim()} ${dim(`· answered ${Math.round(performance.now() - killed)} ms after the proxy's end, curl's start included`)}`,
  );
  const { failed } = await load.ended();
  fact(
    "of the load",
    `${green(`${count(total - failed)} answered`)}, ${count(failed)} cut ${dim("(those that were open in the proxy when it died)")}`,
  );

  step("Culvert is back: it takes over what the kernel kept, and captures again");
  const start = performance.now();
  const again = await a.culvert();
  fact("ready after", `${Math.round(performance.now() - start)} ms`);
  await tally(client, `http://${web.ipv4}/`);
  fact("carried by the new one", count((await again.metrics()).sum("culvert_connections_opened_total")));
  return again;
}

function showShares({ webs }: World, { answers }: Tally): void {
  const total = [...answers.values()].reduce((sum, n) => sum + n, 0);
  for (const { name, node } of webs) {
    const n = answers.get(name) ?? 0;
    fact(`  ${name} ${dim(`(node ${node})`)} answered`, `${String(n).padStart(4)}  ${green(bar(n / total))}`);
  }
}

async function showPeers({ client }: World, host: string): Promise<void> {
  const format = "client sees   own address %{local_ip}   peer %{remote_ip}:%{remote_port}";
  const [server, seen] = (await client.run("curl", "-sS", "-w", format, `http://${host}/`)).split("\n");
  const [name, peer, own] = server!.split(" ");
  command(`curl http://${host}/`);
  output(
    `${seen}   ${dim("(what it dialled)")}\nserver sees   own address ${own}   peer ${peer}   ${dim(`(${name}; the client's true address)`)}`,
  );
}

function showMetrics(before: Metrics, after: Metrics): void {
  const rows: [string, string, Record<string, string>][] = [
    ["connections opened", "culvert_connections_opened_total", {}],
    ["connections closed, ok", "culvert_connections_closed_total", { result: "ok" }],
    ["connections open", "culvert_connections_open", {}],
    ["bytes client → server", "culvert_bytes_total", { flow: "sent" }],
    ["bytes server → client", "culvert_bytes_total", { flow: "received" }],
    ["captured outbound", "culvert_capture_total", { reason: "captured_outbound" }],
    ["passed, of no interest", "culvert_capture_total", { reason: "pass_no_interest" }],
    ["passed, Culvert's own", "culvert_capture_total", { reason: "pass_bypass" }],
  ];
  table(
    ["metric, node a", "before", "after"],
    rows.map(([text, name, labels]) => [text, before.sum(name, labels), after.sum(name, labels)]),
  );
}

async function keep({ a, client, web, cache }: World): Promise<void> {
  const enter = `nsenter --net=${client.namespace.path}`;
  const join = `sh -c 'echo $$ >${client.cgroup}/cgroup.procs; exec ${enter} bash'`;
  title("Everything stays up until Ctrl-C. In another terminal, as root, be the client pod:");
  command(join);
  command(`curl http://${web.ipv4}/   ${dim("# or")} redis-cli -h ${cache.ipv4}`);
  title("And look at Culvert:");
  command(`export CULVERT_SOCKET=${a.socket}`);
  command("bin/culvert status; bin/culvert connections; bin/culvert why client cache:6379");
  command(`cat ${a.meshFile}`);
  console.log(`\n${bold("Ctrl-C ends it.")}`);
  for (;;) await setTimeout(3_600_000);
}
