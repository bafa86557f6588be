// Everything that ends connections badly, at once and at random: programs killed, stopped and started again, streams
// reset, pods taken away with their namespaces. What is not concerned must not notice, and nothing may be left in the proxy.
// CULVERT_TEST_STORM_SECONDS says for how long.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { seededRandom } from "../seeded-random.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { MeshNode } from "./harness/mesh-node.ts";
import type { Pod } from "./harness/pod.ts";
import type { RunningProcess } from "./harness/running-process.ts";
import { endStorm, startStormClient, startStormServer } from "./harness/storm.ts";

const stormSeconds = Number(process.env.CULVERT_TEST_STORM_SECONDS ?? 8);
const port = 7000;
/** Sockets kept ready in pods are closed when they were not used for 10 to 20 s. */
const poolsAreEmptyMs = 45_000;

/** A program of a pod that may be killed at any moment, and is started again. */
interface Victim {
  readonly pod: Pod;
  running: RunningProcess;
  start(): Promise<RunningProcess>;
}

test(`${stormSeconds} s of random kill, reset, pause and netns deletion at three workers: surviving streams are whole, descriptors and blocks are given back`, {
  timeout: (stormSeconds + 120) * 1000,
}, async (t) => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [calmClient, calmServer] = [node.pod("calm-client"), node.pod("calm-server")];
  const clients = [node.pod("client-1"), node.pod("client-2")];
  const servers = [node.pod("server-1"), node.pod("server-2")];
  const doomed = Array.from({ length: 4 }, (_, i) => node.pod(`doomed-${i}`));
  const calm = mesh.service("calm", { port, endpoints: [calmServer] });
  const wild = mesh.service("wild", { port, endpoints: [...servers, ...doomed] });
  const culvert = await node.culvert({ workers: 3, connectTimeoutSeconds: 1 });
  const descriptorsBefore = culvert.descriptors().length;
  const seed = Math.floor(Math.random() * 1e9);
  const draw = seededRandom(seed);
  const random = (below: number) => Math.floor(draw() * below);

  await startStormServer(calmServer, port);
  const survivors = await startStormClient(calmClient, {
    port,
    streams: 16,
    stallSeconds: 30,
    seed: seed + 1,
    addresses: [calm.ipv4, calm.ipv6],
  });
  const calmAndWild = [calm.ipv4, wild.ipv4, calm.ipv6, wild.ipv6];
  const victim = async (pod: Pod, start: Victim["start"]): Promise<Victim> => ({ pod, start, running: await start() });
  const server = (pod: Pod) => victim(pod, () => startStormServer(pod, port));
  const client = (pod: Pod) => {
    const load = { port, streams: 16, stallSeconds: 2, addresses: calmAndWild };
    return victim(pod, () => startStormClient(pod, { ...load, seed: seed + random(1e6) }));
  };
  const victims = await Promise.all([...servers.map(server), ...clients.map(client)]);
  const doomedVictims = await Promise.all(doomed.flatMap((pod) => [server(pod), client(pod)]));
  const ended: RunningProcess[] = [];

  const begin = performance.now();
  const elapsed = () => (performance.now() - begin) / 1000;
  const left = [...doomed];
  while (elapsed() < stormSeconds) {
    const due = Math.floor((elapsed() / stormSeconds) * (doomed.length + 1));
    if (doomed.length - left.length < due) {
      const pod = left.shift()!;
      await takeAway(node, pod, doomedVictims, ended);
      continue;
    }
    await harm(victims[random(victims.length)]!, random, ended);
    await setTimeout(random(100)); // The storm's own rhythm: nothing is waited for.
  }

  const survived = await endStorm(survivors);
  const others = await Promise.all(
    victims.flatMap(({ pod, running }) => (clients.includes(pod) ? [endStorm(running)] : [])),
  );
  t.diagnostic(`seed ${seed}, survivors ${JSON.stringify(survived)}, others ${JSON.stringify(others)}`);
  const { complete, broken, ...bad } = survived;
  assert.deepEqual(bad, { failed: 0, truncated: 0, wrong: 0 });
  assert.ok(complete > 50 && broken > 5, "the survivors did little");
  for (const { wrong } of others) assert.equal(wrong, 0);
  for (const { name, stderr } of ended) assert.deepEqual(stderr, [], name);
  assert.equal(culvert.hasExited, false);
  await assertGivenBack(culvert, descriptorsBefore);
});

async function harm(victim: Victim, random: (below: number) => number, ended: RunningProcess[]): Promise<void> {
  if (random(3) > 0) {
    victim.running.kill("SIGSTOP");
    await setTimeout(random(300)); // That long it stands still.
    victim.running.kill("SIGCONT");
    return;
  }
  victim.running.kill("SIGKILL");
  await victim.running.exited;
  ended.push(victim.running);
  victim.running = await victim.start();
}

async function takeAway(node: MeshNode, pod: Pod, victims: readonly Victim[], ended: RunningProcess[]): Promise<void> {
  for (const { running } of victims.filter((victim) => victim.pod === pod)) {
    running.kill("SIGKILL");
    await running.exited;
    ended.push(running);
  }
  await node.takeAway(pod);
}

async function assertGivenBack(culvert: Culvert, descriptorsBefore: number): Promise<void> {
  const inUse = async () => {
    const metrics = await culvert.metrics();
    const names = ["culvert_connections_open", "culvert_worker_open_connections", "culvert_worker_blocks_in_use"];
    return Object.fromEntries(names.map((name) => [name, metrics.sum(name)]));
  };
  const nothing = { culvert_connections_open: 0, culvert_worker_open_connections: 0, culvert_worker_blocks_in_use: 0 };
  const isNothing = (use: object) => JSON.stringify(use) === JSON.stringify(nothing);
  for (let tries = 0; tries < 100 && !isNothing(await inUse()); tries++) await setTimeout(50);
  assert.deepEqual(await inUse(), nothing);
  const end = performance.now() + poolsAreEmptyMs;
  while (culvert.descriptors().length > descriptorsBefore && performance.now() < end) await setTimeout(100);
  const now = culvert.descriptors();
  assert.ok(now.length <= descriptorsBefore, `${descriptorsBefore} descriptors before, now ${now.join(", ")}`);
}
