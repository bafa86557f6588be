// `npm run demo`: Culvert on one node made of network namespaces, with real applications that know nothing of it.
// Says what it does and shows what each side saw. Everything is removed on exit, error and Ctrl-C; `-- --keep` waits
// for Ctrl-C at the end, so that one can look around. Uses the harness of test/netns.

import { setTimeout } from "node:timers/promises";
import { nginx, redis } from "../netns/harness/applications.ts";
import type { Culvert } from "../netns/harness/culvert.ts";
import { Mesh } from "../netns/harness/mesh.ts";
import type { Metrics } from "../netns/harness/metrics.ts";
import type { Pod } from "../netns/harness/pod.ts";
import type { Service } from "../netns/harness/service.ts";
import { bar, bold, command, count, dim, fact, green, output, red, step, table, title } from "./narrator.ts";

const requests = 300;
const keeps = process.argv.includes("--keep");
const webs = ["web-1", "web-2", "web-3"];

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
  const node = mesh.node("a");
  const client = node.pod("client");
  const endpoints = webs.map((name) => node.pod(name).serve(nginx()));
  const six = node.pod("six", { families: [6] }).serve(nginx({ listen: ["[::]:80 ipv6only=on"] }));
  const web = mesh.service("web", { port: 80, endpoints });
  const cache = mesh.service("cache", { port: 6379, endpoints: [node.pod("redis").serve(redis())] });
  const modern = mesh.service("modern", { port: 80, endpoints: [six] });
  const website = node.outside("website").serve(nginx());

  title(
    "Culvert: one node of eight network namespaces, no iptables, no nft, no sidecar",
    "pods      client · web-1 web-2 web-3 (nginx) · redis · six (nginx, IPv6 only)",
    `services  web ${web.ipv4}, ${web.ipv6} · cache ${cache.ipv4}, ${cache.ipv6} · modern ${modern.ipv6}`,
    `outside   website ${website.ipv4} (nginx; the mesh knows nothing of it)`,
  );
  await mesh.up();

  step("Without Culvert: the service's address leads to one endpoint, as a node's routes would have it");
  const alone = await tally(client, `http://${web.ipv4}/`);
  showShares(alone.answers);
  const aloneKept = await tally(client, `http://${web.ipv4}/`, "kept");

  step("Culvert starts: nothing is restarted, nothing in a pod is changed");
  command("culvert node --config mesh.yaml");
  const start = performance.now();
  const culvert = await node.culvert();
  fact("ready after", `${Math.round(performance.now() - start)} ms`);
  fact("pods captured", `${(await culvert.metrics()).sum("culvert_pods_enrolled")}`);
  const before = await culvert.metrics();

  step("The same curl, the same addresses: now balanced over all endpoints");
  for (const host of [web.ipv4, `[${web.ipv6}]`, `[::ffff:${web.ipv4}]`]) {
    command(`curl http://${host}/   ${dim(`× ${requests}`)}`);
    showShares((await tally(client, `http://${host}/`)).answers);
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
  for (const host of [web.ipv4, `[${web.ipv6}]`]) await showPeers(client, host);

  step("Other protocols, other families: redis, and a server that has IPv6 only");
  for (const args of [
    ["-h", cache.ipv4, "set", "greeting", "hello"],
    ["-h", cache.ipv6, "get", "greeting"],
  ]) {
    command(`redis-cli ${args.join(" ")}`);
    output(await client.run("redis-cli", ...args));
  }
  command(`curl http://[${modern.ipv6}]/`);
  output(await client.run("curl", "-sS", `http://[${modern.ipv6}]/`));

  step("What is not the mesh's is never touched, only counted");
  command(`curl http://${website.ipv4}/`);
  output(await client.run("curl", "-sS", `http://${website.ipv4}/`));

  step("What Culvert wrote: a line per connection, and its metrics");
  const expected = 4 * requests + 1 + 2 + 2 + 1;
  await culvert.connections(expected);
  output(JSON.stringify(await culvert.connection(({ service }) => service === "default/cache:6379")));
  console.log();
  showMetrics(before, await culvert.metrics());

  const second = await failAndReturn(client, web, culvert);

  if (keeps) await keep(client, web, cache);
  step("SIGTERM: what is open finishes, then it goes");
  const { code } = await second.terminate();
  fact("exit code", `${code}`);
  const last = await client.run("curl", "-sS", `http://${web.ipv4}/`);
  fact("curl still works", last.trim());
}

/** Kills Culvert under load and starts another. */
async function failAndReturn(client: Pod, web: Service, culvert: Culvert): Promise<Culvert> {
  step("kill -9 under load: fail open");
  const load = 4000;
  const options = ["-sS", "-Z", "--parallel-max", "8", "-H", "Connection: close", "-o", "/dev/null"];
  command(`curl -Z --parallel-max 8 http://${web.ipv4}/   ${dim(`× ${count(load)}, each a new connection`)}`);
  const { length: done } = culvert.log.items;
  const curl = await client.start("curl", ...options, "-w", "%{http_code}\n", `http://${web.ipv4}/?[1-${load}]`);
  const through = load / 4;
  await culvert.log.until(`${through} connections`, ({ length }) => length >= done + through);
  command(`kill -9 ${culvert.pid}   ${dim(`# after the first ${count(through)}`)}`);
  await culvert.kill();
  const killed = performance.now();
  const answer = await client.run("curl", "-sS", `http://${web.ipv4}/`);
  fact(
    "first new connection",
    `${answer.trim()} ${dim(`· answered ${Math.round(performance.now() - killed)} ms after the proxy's end, curl's start included`)}`,
  );
  await curl.exited;
  const codes = curl.stdout.items;
  const good = codes.filter((code) => code === "200").length;
  fact(
    "of the load",
    `${green(`${count(good)} answered`)}, ${count(codes.length - good)} cut ${dim("(those that were open in the proxy when it died)")}`,
  );

  step("Culvert is back: captured again");
  const start = performance.now();
  const second = await mesh.node("a").culvert();
  fact("ready after", `${Math.round(performance.now() - start)} ms`);
  showShares((await tally(client, `http://${web.ipv4}/`)).answers);
  await second.connections(requests);
  fact("captured", count((await second.metrics()).sum("culvert_capture_total", { reason: "captured_outbound" })));
  return second;
}

interface Tally {
  readonly answers: ReadonlyMap<string, number>;
  readonly medianUs: number;
}

/** Many requests one after another. */
async function tally(client: Pod, url: string, connection: "new" | "kept" = "new"): Promise<Tally> {
  const close = connection === "new" ? ["-H", "Connection: close"] : [];
  const options = ["-sS", ...close, "-w", "%{time_total}\n"];
  const lines = (await client.run("curl", ...options, `${url}?[1-${requests}]`)).split("\n");
  const answers = new Map<string, number>(webs.map((name) => [name, 0]));
  const times: number[] = [];
  for (const line of lines) {
    const name = line.split(" ")[0]!;
    if (answers.has(name)) answers.set(name, answers.get(name)! + 1);
    else times.push(Number(line) * 1e6);
  }
  return { answers, medianUs: Math.round(times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!) };
}

function showShares(answers: ReadonlyMap<string, number>): void {
  const total = [...answers.values()].reduce((sum, n) => sum + n, 0);
  for (const [name, n] of answers) fact(`  ${name} answered`, `${String(n).padStart(4)}  ${green(bar(n / total))}`);
}

async function showPeers(client: Pod, host: string): Promise<void> {
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
    ["metric", "before", "after"],
    rows.map(([text, name, labels]) => [text, before.sum(name, labels), after.sum(name, labels)]),
  );
}

async function keep(client: Pod, web: Service, cache: Service): Promise<void> {
  const enter = `nsenter --net=${client.namespace.path}`;
  const join = `sh -c 'echo $$ >${client.cgroup}/cgroup.procs; exec ${enter} bash'`;
  title("Everything stays up until Ctrl-C. In another terminal, as root, be the client pod:");
  command(join);
  command(`curl http://${web.ipv4}/   ${dim("# or")} redis-cli -h ${cache.ipv4}`);
  title("And look at Culvert:");
  command(`curl --unix-socket ${mesh.directory}/a.sock http://culvert/metrics`);
  command(`cat ${mesh.directory}/a.yaml`);
  console.log(`\n${bold("Ctrl-C ends it.")}`);
  for (;;) await setTimeout(3_600_000);
}
