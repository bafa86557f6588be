import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeAddresses } from "../../../src/kernel/node-addresses.ts";
import { formatAddress, type IpAddress, parseAddress } from "../../../src/mesh/address.ts";

const addressesOf = (...texts: string[]) => texts.map((text) => parseAddress(text)!);
const texts = (addresses: readonly IpAddress[]) => addresses.map(formatAddress);

test("changes are told once, with all addresses; another order is no change", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let now = addressesOf("192.0.2.1", "2001:db8::1");
  const told: string[][] = [];
  using watched = NodeAddresses.watch(
    (addresses) => told.push(texts(addresses)),
    () => now,
  );
  t.mock.timers.tick(1000);
  now = addressesOf("2001:db8::1", "192.0.2.1");
  t.mock.timers.tick(1000);
  assert.deepEqual(told, []);
  now = addressesOf("2001:db8::1", "192.0.2.1", "10.0.0.1");
  t.mock.timers.tick(2000);
  now = addressesOf("10.0.0.1");
  t.mock.timers.tick(1000);
  assert.deepEqual(told, [["2001:db8::1", "192.0.2.1", "10.0.0.1"], ["10.0.0.1"]]);
  assert.deepEqual(texts(watched.current), ["10.0.0.1"]);
});

test("while the kernel cannot be asked (out of descriptors) what was known stays, and is asked again", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let read = () => addressesOf("192.0.2.1");
  const told: string[][] = [];
  using watched = NodeAddresses.watch(
    (addresses) => told.push(texts(addresses)),
    () => read(),
  );
  read = () => {
    throw new Error("EMFILE");
  };
  t.mock.timers.tick(2000);
  assert.deepEqual([texts(watched.current), told], [["192.0.2.1"], []]);
  read = () => addressesOf("192.0.2.2");
  t.mock.timers.tick(1000);
  assert.deepEqual(told, [["192.0.2.2"]]);
});

test("loopback and link-local addresses of this machine are none of the node's", () => {
  using watched = NodeAddresses.watch(() => {});
  assert.deepEqual(
    texts(watched.current).filter((text) => /^(127\.|::1$|fe80:)/.test(text)),
    [],
  );
});
