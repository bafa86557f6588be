import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAddress } from "../../../src/mesh/address.ts";
import { socketWordsOf } from "../../../src/proxy/address-text.ts";
import {
  createSourcePorts,
  firstSourcePort,
  isSourcePort,
  lastSourcePort,
  SourcePorts,
} from "../../../src/proxy/source-ports.ts";

const words = (text: string, port: number) => socketWordsOf(parseAddress(text)!, port);
const client = words("10.244.1.2", 40_000);
const server = words("10.244.1.3", 80);

/** mulberry32: numbers that are the same in every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("all workers together never claim a port twice, and find 18,000 of the 22,528 of one client and destination", () => {
  const shared = createSourcePorts();
  const workers = [1, 2, 3].map((seed) => new SourcePorts(shared, randomFrom(seed)));
  const claimed = new Set<number>();
  for (let i = 0; i < 18_000; i++) {
    const port = workers[i % 3]!.claim(client, server);
    assert.ok(isSourcePort(port), `claim ${i} found ${port}`);
    assert.ok(!claimed.has(port), `${port} was claimed already`);
    claimed.add(port);
  }
});

test("the range ends below the ports that kernels choose for clients", () => {
  assert.deepEqual([firstSourcePort, lastSourcePort], [10_240, 32_767]);
  assert.deepEqual([10_239, 10_240, 32_767, 32_768].map(isSourcePort), [false, true, true, false]);
});

test("a port that the client uses itself is not claimed until it is free again", () => {
  let draws = 0;
  const ports = new SourcePorts(createSourcePorts(), () => draws++ / (lastSourcePort - firstSourcePort + 1));
  const claim = () => {
    draws = 0; // The first attempt is the first port, the second the next.
    return ports.claim(client, server);
  };
  ports.use(client, firstSourcePort, server);
  ports.use(client, firstSourcePort, server); // by two connections that share a slot, say
  assert.equal(claim(), firstSourcePort + 1);
  ports.release(client, firstSourcePort, server);
  assert.equal(claim(), firstSourcePort + 2);
  ports.release(client, firstSourcePort, server);
  assert.equal(claim(), firstSourcePort);
});

test("a port in use towards one destination, or by one client, is free for others", () => {
  const ports = new SourcePorts(createSourcePorts(), () => 0); // Always the first.
  assert.equal(ports.claim(client, server), firstSourcePort);
  for (const [from, to] of [
    [client, words("10.244.1.3", 81)],
    [client, words("10.244.1.4", 80)],
    [words("10.244.1.9", 1), server],
    [words("fd00:244:1::2", 1), words("fd00:244:1::3", 80)],
    [words("fd00:244:1::2", 1), words("fd00:244:2::3", 80)],
  ] as const) {
    assert.equal(ports.claim(from, to), firstSourcePort);
  }
});

test("when every port is in use there is none, and none is lost by trying", () => {
  const ports = new SourcePorts(createSourcePorts(), randomFrom(7));
  for (let port = firstSourcePort; port <= lastSourcePort; port++) ports.use(client, port, server);
  for (let i = 0; i < 100; i++) assert.equal(ports.claim(client, server), 0);
  for (let port = firstSourcePort; port <= lastSourcePort; port++) ports.release(client, port, server);
  assert.ok(isSourcePort(ports.claim(client, server)));
});

test("60,000 connections of 300 clients find a port each", () => {
  let draws = 0;
  const ports = new SourcePorts(createSourcePorts(), () => (draws++ * 0.618033988749) % 1);
  const used = new Set<string>();
  for (let i = 0; i < 60_000; i++) {
    const from = words(`10.244.${i % 6}.${(i % 100) + 2}`, 0);
    const port = ports.claim(from, server);
    assert.ok(port !== 0);
    used.add(`${from.w3} ${port}`);
  }
  assert.equal(used.size, 60_000);
});
