import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Destination, ProtocolMemory } from "../../../../src/proxy/detect/protocol-memory.ts";

const web: Destination = { w0: 0, w1: 0, w2: 0xffff, w3: 0x0a600001, port: 80 };
const tenMinutesMs = 600_000;

function learned(memory = new ProtocolMemory()): ProtocolMemory {
  for (let i = 0; i < 3; i++) memory.confirm(web, "http", i);
  return memory;
}

describe("the memory of protocols", () => {
  test("knows after three connections that agree, not after two", () => {
    const memory = new ProtocolMemory();
    for (const expected of [undefined, undefined, "http", "http"]) {
      memory.confirm(web, "http", 0);
      assert.equal(memory.recall(web, 0), expected);
    }
  });

  test("begins again when one disagrees", () => {
    const memory = learned();
    memory.confirm(web, "tls", 3);
    assert.equal(memory.recall(web, 3), undefined);
    memory.confirm(web, "tls", 3);
    assert.equal(memory.recall(web, 3), undefined);
    memory.confirm(web, "tls", 3);
    assert.equal(memory.recall(web, 3), "tls");
  });

  test("knows nothing any more when a server contradicted", () => {
    const memory = learned();
    memory.contradict(web, 3);
    assert.equal(memory.recall(web, 3), undefined);
    memory.confirm(web, "http", 3);
    assert.equal(memory.recall(web, 3), undefined);
  });

  test("goes on to know an opaque one when its server said something opaque", () => {
    const memory = new ProtocolMemory();
    for (let i = 0; i < 3; i++) memory.confirm(web, "opaque", 0);
    memory.contradict(web, 0);
    assert.equal(memory.recall(web, 0), "opaque");
  });

  test("forgets ten minutes after the last connection that agreed", () => {
    const memory = learned();
    assert.equal(memory.recall(web, 2 + tenMinutesMs - 1), "http");
    assert.equal(memory.recall(web, 2 + tenMinutesMs), undefined);
    memory.confirm(web, "http", 1000);
    assert.equal(memory.recall(web, 1000 + tenMinutesMs - 1), "http");
    memory.confirm(web, "http", 1000 + tenMinutesMs);
    assert.equal(memory.recall(web, 1000 + tenMinutesMs), undefined);
  });

  test("takes words signed or not", () => {
    const signed = { w0: -1, w1: -2, w2: -3, w3: -4, port: 443 };
    const unsigned = { w0: 0xffffffff, w1: 0xfffffffe, w2: 0xfffffffd, w3: 0xfffffffc, port: 443 };
    const memory = new ProtocolMemory();
    for (let i = 0; i < 3; i++) memory.confirm(i === 1 ? signed : unsigned, "tls", 0);
    assert.equal(memory.recall(signed, 0), "tls");
    assert.equal(memory.recall(unsigned, 0), "tls");
  });

  test("never tells of one destination what was learned of another, though slots are few", () => {
    const memory = new ProtocolMemory();
    const at = (i: number): Destination => ({ ...web, w3: web.w3 + (i >> 2), port: 80 + (i & 3) });
    for (let i = 0; i < 20_000; i++) for (let k = 0; k < 3; k++) memory.confirm(at(i), i % 2 === 0 ? "http" : "tls", 0);
    let known = 0;
    for (let i = 0; i < 20_000; i++) {
      const recalled = memory.recall(at(i), 0);
      if (recalled === undefined) continue;
      known++;
      assert.equal(recalled, i % 2 === 0 ? "http" : "tls");
    }
    assert.ok(known > 3000 && known <= 4096, `${known} known`);
  });

  test("tells only what the last three said within ten minutes of each other, none of them contradicted", () => {
    const event = fc.record({
      kind: fc.constantFrom("http", "tls", "opaque", "contradict"),
      afterMs: fc.oneof(fc.nat(10), fc.integer({ min: tenMinutesMs - 5, max: tenMinutesMs + 5 })),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 12 }), (events) => {
        const memory = new ProtocolMemory();
        let now = 0;
        let run: { protocol: string; count: number; lastMs: number } = { protocol: "", count: 0, lastMs: 0 };
        for (const { kind, afterMs } of events) {
          now += afterMs;
          if (now - run.lastMs >= tenMinutesMs) run.count = 0;
          if (kind === "contradict") {
            memory.contradict(web, now);
            if (run.protocol !== "opaque") run.count = 0;
          } else {
            memory.confirm(web, kind as "http" | "tls" | "opaque", now);
            run = { protocol: kind, count: run.protocol === kind && run.count > 0 ? run.count + 1 : 1, lastMs: now };
          }
          assert.equal(memory.recall(web, now), run.count >= 3 ? run.protocol : undefined);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
