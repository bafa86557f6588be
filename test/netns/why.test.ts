// `culvert why` foretells, then the connection is dialled: a table of every kind of source against every kind of
// destination, over IPv4 and IPv6. What the hooks counted, what the proxy logged and what the client saw must all be as
// it was told.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { WhyConnection, WhyReport } from "../../src/telemetry/reports.ts";
import { echo } from "./harness/applications.ts";
import type { ConnectionEvent, Culvert } from "./harness/culvert.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import { tool } from "./harness/tools.ts";

const port = 7000;

interface Destination {
  readonly 4: string;
  readonly 6: string;
  readonly port: number;
}

/** Everything that can connect, and everything that can be connected to. */
async function declare(mesh: Mesh) {
  const node = mesh.node("a");
  const server = node.pod("server").serve(echo(port));
  const twin = node.pod("twin").serve(echo(port));
  const shy = node.pod("shy", { inboundOptOut: [{ ports: [port] }] }).serve(echo(port));
  const closed = node.pod("closed", { whenProxyDown: "deny" }).serve(echo(port));
  const bystander = node.pod("bystander", { enrolled: false }).serve(echo(port));
  const outside = node.outside("laptop").serve(echo(port));
  const sources = [
    node.pod("client").serve(echo(port)),
    node.pod("strict", { whenProxyDown: "deny" }),
    node.pod("opted-out", { outboundOptOut: [{ ports: [port] }] }),
    node.pod("observer", { record: { capture: { outbound: { egress: "observe" } } } }),
    node.pod("four", { families: [4] }),
    node.pod("strict-four", { families: [4], whenProxyDown: "deny" }),
    bystander,
    node.pod("stranger", { enrolled: "unknown" }),
  ];
  const web = mesh.service("web", { port, endpoints: [server, twin] });
  const record = { sessionAffinity: "clientAddress" };
  const sticky = mesh.service("sticky", { port, endpoints: [server, twin, shy, closed], record });
  const dead = mesh.service("dead", { port: port + 1, endpoints: [server] });
  const none = mesh.service("none", { port, endpoints: [] });
  await mesh.up();
  const of = (host: Host) => ({ 4: host.ipv4, 6: host.ipv6 });
  const destinations: Record<string, Destination> = {
    service: { 4: web.ipv4, 6: web.ipv6, port },
    "service with affinity": { 4: sticky.ipv4, 6: sticky.ipv6, port },
    "service whose endpoint refuses": { 4: dead.ipv4, 6: dead.ipv6, port: port + 1 },
    "service without endpoint": { 4: none.ipv4, 6: none.ipv6, port },
    "undeclared port of a service": { 4: web.ipv4, 6: web.ipv6, port: port + 1 },
    workload: { ...of(server), port },
    "workload's closed port": { ...of(server), port: port + 1 },
    "mesh port of a workload": { ...of(server), port: 15_001 },
    "workload that is not enrolled": { ...of(bystander), port },
    "workload that opts out": { ...of(shy), port },
    "strict workload": { ...of(closed), port },
    "nobody in a pod CIDR": { 4: "10.244.99.9", 6: "fd00:244:99::9", port },
    outside: { ...of(outside), port },
    loopback: { 4: "127.0.0.1", 6: "::1", port },
  };
  // What leads nowhere fails at once, instead of after the second SYN, in a second.
  const nowhere = [destinations["service without endpoint"]!, destinations["nobody in a pod CIDR"]!];
  const routes = nowhere.flatMap((it) => [`route add unreachable ${it[4]}`, `route add unreachable ${it[6]}`]);
  await Promise.all(sources.map(({ namespace }) => namespace.configure(routes)));
  return { node, sources, destinations };
}

async function foretold(culvert: Culvert, source: string, address: string, at: number): Promise<WhyConnection> {
  const to = address.includes(":") ? `[${address}]:${at}` : `${address}:${at}`;
  const { status, body } = await culvert.get(`/why?workload=${source}&to=${encodeURIComponent(to)}`);
  assert.equal(status, 200, body);
  return (JSON.parse(body) as WhyReport).connections[0]!;
}

/** How often the hooks judged, by reason, leaving out what the proxy's own connections add. */
async function judgements(culvert: Culvert): Promise<Map<string, number>> {
  const { samples } = await culvert.metrics();
  const counted = samples.filter(({ name }) => name === "culvert_capture_total");
  return new Map(counted.map(({ labels, value }) => [labels.reason!, value]));
}

const ofTheProxy = ["pass_bypass", "pass_proxy"];

/** Asks, dials and compares, for every source and every destination; how often each kind of answer was given. */
async function compare(
  culvert: Culvert,
  sources: readonly Host[],
  destinations: Readonly<Record<string, Destination>>,
): Promise<Map<string, number>> {
  const dial = await tool("dial-as");
  const seen = new Map<string, number>();
  for (const source of sources) {
    for (const [name, destination] of Object.entries({ ...destinations, itself: selfOf(source) })) {
      for (const family of [4, 6] as const) {
        const address = destination[family];
        const title = `${source.name} to ${name} (${address}:${destination.port})`;
        const told = await foretold(culvert, source.name, address, destination.port);
        const before = await judgements(culvert);
        const logged = culvert.log.items.length;
        const outcome = await source.run(dial, "tcp", address, `${destination.port}`);
        checkClient(told, outcome, title);
        await checkLog(culvert, logged, told, title); // First: by its line a connection has been judged to its end.
        await checkCounts(culvert, before, told, title);
        const kind = `${told.connect.reason}${told.arrival ? `, ${told.arrival.reason}` : ""}: ${told.outcome}`;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
      }
    }
  }
  return seen;
}

const options = { podCidrs: ["10.244.0.0/16", "fd00:244::/32"], connectTimeoutSeconds: 2 };

test("what why foretells is what happens, for every source and every destination, over IPv4 and IPv6", async (t) => {
  await using mesh = await Mesh.start();
  const { node, sources, destinations } = await declare(mesh);
  const culvert = await node.culvert(options);
  // What is special of some shows with few destinations.
  const [special, ordinary] = partition(sources, ({ name }) => ["observer", "four", "strict-four"].includes(name));
  const { service, workload, outside, loopback } = destinations;
  const few = { service: service!, workload: workload!, outside: outside!, loopback: loopback! };
  const seen = await compare(culvert, ordinary, destinations);
  for (const [kind, count] of await compare(culvert, special, few)) seen.set(kind, (seen.get(kind) ?? 0) + count);
  t.diagnostic(JSON.stringify(Object.fromEntries(seen)));
  const reasons = new Set([...seen.keys()].map((kind) => kind.split(/[,:]/, 1)[0]));
  for (const reason of [
    "captured_outbound",
    "refused_no_endpoint",
    "pass_not_enrolled",
    "pass_unknown",
    "pass_opted_out",
    "pass_no_interest",
    "pass_loopback",
    "pass_self",
    "pass_no_source",
    "deny_not_capturable",
  ]) {
    assert.ok(reasons.has(reason), `the table has ${reason}`);
  }
});

test("what why foretells of an unknown namespace is what happens where those are denied", async () => {
  await using mesh = await Mesh.start();
  const { node, sources, destinations } = await declare(mesh);
  const culvert = await node.culvert({ ...options, unknownPods: "deny" });
  const strangers = sources.filter(({ name }) => name === "stranger");
  const { service, outside, loopback } = destinations;
  const seen = await compare(culvert, strangers, { service: service!, outside: outside!, loopback: loopback! });
  assert.deepEqual([seen.get("deny_unknown: denied"), seen.get("pass_not_enrolled: passed")], [4, 4]);
});

function partition<T>(items: readonly T[], isOf: (item: T) => boolean): [T[], T[]] {
  return [items.filter(isOf), items.filter((item) => !isOf(item))];
}

function selfOf({ addresses }: Host): Destination {
  return { 4: addresses.ipv4 ?? "127.0.0.1", 6: addresses.ipv6 ?? "::1", port };
}

/** Exactly what was foretold was counted, and nothing else. An arrival may be counted again, for a repeated SYN. */
async function checkCounts(
  culvert: Culvert,
  before: ReadonlyMap<string, number>,
  { connect, arrival }: WhyConnection,
  title: string,
): Promise<void> {
  const grown = [...(await judgements(culvert))].flatMap(([reason, count]) => {
    const more = count - (before.get(reason) ?? 0);
    return more > 0 && !ofTheProxy.includes(reason) ? [[reason, more] as const] : [];
  });
  const expected = new Set([connect.reason, ...(arrival === undefined ? [] : [arrival.reason])]);
  assert.deepEqual(new Set(grown.map(([reason]) => reason)), expected, title);
}

function checkClient({ connect, arrival }: WhyConnection, outcome: string, title: string): void {
  if (connect.outcome === "captured") assert.equal(outcome, "connected", title);
  else if (connect.outcome === "denied") assert.equal(outcome, "connect: EPERM", title);
  else if (connect.outcome === "refused") assert.equal(outcome, "connect: ECONNREFUSED", title);
  else if (arrival?.outcome === "denied") assert.equal(outcome, "connect: ECONNREFUSED", title);
  else assert.notEqual(outcome, "connect: EPERM", title);
}

/** A line for what the proxy carries, of the pod and to where it was foretold; none for the rest. */
async function checkLog(culvert: Culvert, from: number, told: WhyConnection, title: string): Promise<void> {
  const isInbound = told.arrival?.reason === "captured_inbound";
  if (told.connect.outcome !== "captured" && !isInbound) {
    const lines = culvert.log.items.slice(from).filter(({ msg }) => msg === "connection");
    assert.deepEqual(lines, [], title);
    return;
  }
  const isNew = () => culvert.log.items.slice(from).find((event) => event.msg === "connection");
  await culvert.log.until(`the line of ${title}`, () => isNew() !== undefined);
  const line = isNew() as ConnectionEvent;
  assert.equal(line.destination, told.destination, title);
  assert.equal(line.direction, isInbound ? "inbound" : "outbound", title);
  if (isInbound) {
    assert.equal(line.pod, told.arrival!.pod, title);
    return;
  }
  const { route } = told;
  assert.equal(line.service, route!.to === "service" ? route!.name : undefined, title);
  if (route!.to !== "service") {
    assert.equal(line.transport, route!.transport, title);
    return;
  }
  const eligible = route!.endpoints.filter(({ isEligible }) => isEligible);
  if (route!.balancing === "affinity") assert.equal(eligible.length, 1, title);
  const chosen = eligible.find(({ name, address }) => line.endpoint === `${name} ${address}`);
  assert.ok(chosen, `${title}: ${line.endpoint} is none of ${JSON.stringify(eligible)}`);
  assert.equal(line.transport, chosen.transport, title);
}
