import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Detection, type Observation, type ObservedStream } from "../../../src/proxy/detection.ts";

const timeoutMs = 10_000;
const web = { w0: 0, w1: 0, w2: 0xffff, w3: 0x0a600001, port: 80 };
const other = { ...web, port: 81 };

/** A clock that the test moves; timers fire when it passes them. */
class Clock {
  now = 0;
  timers: { at: number; callback: () => void }[] = [];
  setTimer(ms: number, callback: () => void): number {
    return this.timers.push({ at: this.now + ms, callback });
  }
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.timers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.timers.splice(this.timers.indexOf(next), 1);
      this.now = next.at;
      next.callback();
    }
    this.now = end;
  }
}

class Stream implements ObservedStream {
  observation: Observation | undefined;
  /** Each call of onProtocol. */
  readonly told: string[] = [];
  sni: string | undefined;
  onProtocol(protocol: string, by: string, serverName: string | undefined): void {
    this.told.push(`${protocol} ${by}`);
    this.sni = serverName;
  }
  client(text: string): this {
    return this.#pass("sent", text);
  }
  server(text: string): this {
    return this.#pass("received", text);
  }
  #pass(flow: "sent" | "received", text: string): this {
    this.observation?.onData(flow, Buffer.from(`..${text}`, "latin1"), 2, text.length);
    return this;
  }
  close(): void {
    this.observation?.onClosed();
  }
}

function start() {
  const clock = new Clock();
  const detection = new Detection({ timers: clock, timeoutMs, now: () => clock.now });
  const open = (destination = web) => {
    const stream = new Stream();
    detection.observe(stream, destination);
    return stream;
  };
  const learn = (protocol: "http" | "opaque", destination = web) => {
    for (let i = 0; i < 3; i++) {
      const stream = open(destination);
      if (protocol === "opaque") stream.server("220 mail\r\n").close();
      else stream.client("GET / HTTP/1.1\r\n\r\n").server("HTTP/1.1 200 OK\r\n\r\n").close();
    }
  };
  return { clock, detection, open, learn };
}

describe("detection", () => {
  test("tells what the client speaks once, and looks no further than the server's first bytes", () => {
    const { open } = start();
    const stream = open().client("GET / HTTP/1.1\r\n\r\n");
    assert.deepEqual(stream.told, ["http detected"]);
    assert.notEqual(stream.observation, undefined);
    stream.server("HTTP/1.1 200 OK\r\n\r\n");
    assert.equal(stream.observation, undefined);
    stream.close();
    assert.deepEqual(stream.told, ["http detected"]);
  });

  test("tells a server that speaks first at once, and looks no further", () => {
    const { open } = start();
    const stream = open().server("S");
    assert.deepEqual(stream.told, ["opaque server_first"]);
    assert.equal(stream.observation, undefined);
  });

  test("a connection on which nothing is said is opaque after the time-out, not before", () => {
    const { clock, open } = start();
    clock.advance(77);
    const stream = open();
    clock.advance(timeoutMs - 1);
    assert.deepEqual(stream.told, []);
    clock.advance(1);
    assert.deepEqual(stream.told, ["opaque timeout"]);
    assert.equal(stream.observation, undefined);
  });

  test("a connection that ended before it said enough is unknown", () => {
    const { clock, open } = start();
    const stream = open().client("GE");
    stream.close();
    clock.advance(2 * timeoutMs);
    assert.deepEqual(stream.told, ["unknown ended"]);
  });

  test("each of many waits for its own time-out, behind one timer", () => {
    const { clock, open } = start();
    const streams = Array.from({ length: 10 }, () => {
      clock.advance(100);
      return open();
    });
    assert.equal(clock.timers.length, 1);
    streams[0]!.client("GET / HTTP/1.1\r\n");
    streams[5]!.close();
    clock.advance(timeoutMs - 901);
    for (const [i, stream] of streams.entries()) {
      const expected = i === 0 ? ["http detected"] : i === 5 ? ["unknown ended"] : [];
      assert.deepEqual(stream.told, expected, `stream ${i}`);
      clock.advance(100);
      if (i !== 0 && i !== 5) assert.deepEqual(stream.told, ["opaque timeout"], `stream ${i}`);
    }
    clock.advance(timeoutMs);
    assert.equal(clock.timers.length, 0);
  });

  test("half a request line to a destination that was learned waits for nothing", () => {
    const { open, learn } = start();
    assert.deepEqual(open().client("GE").told, []);
    learn("http");
    assert.deepEqual(open().client("GE").told, ["http learned"]);
    assert.deepEqual(open(other).client("GE").told, []);
  });

  test("a connection on which nothing is said is what was learned after the time-out", () => {
    const { clock, open, learn } = start();
    learn("http");
    const stream = open();
    clock.advance(timeoutMs);
    assert.deepEqual(stream.told, ["http learned"]);
  });

  test("what was learned never overrules what the bytes say or rule out", () => {
    const { open, learn } = start();
    learn("http");
    assert.deepEqual(open().client("\0junk").told, ["opaque detected"]);
    assert.deepEqual(open().client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").told, ["http2 detected"]);
    assert.deepEqual(open().client("\x16\x03").told, []);
    assert.deepEqual(open().server("\0\0\x06\x04\0\0\0\0\0").client("P").told, []);
    learn("opaque", other);
    assert.deepEqual(open(other).client("GET / HTTP/1.1\r\n").told, ["http detected"]);
  });

  test("a connection that was decided as learned is looked at further, and can clear what was learned", () => {
    const { open, learn } = start();
    learn("http");
    const stream = open().client("GE");
    assert.deepEqual(stream.told, ["http learned"]);
    stream.server("what?");
    assert.deepEqual(stream.told, ["http learned"]);
    assert.deepEqual(open().client("GE").told, []);
  });

  test("one contrary connection clears what was learned", () => {
    const { open, learn } = start();
    learn("http");
    open().server("220 mail\r\n");
    assert.deepEqual(open().client("GE").told, []);
  });

  test("408 teaches nothing, and clears nothing", () => {
    const { open, learn } = start();
    for (let i = 0; i < 5; i++) open().server("HTTP/1.1 408 Request Timeout\r\n\r\n").close();
    assert.deepEqual(open().client("GE").told, []);
    learn("http");
    for (let i = 0; i < 5; i++) open().server("HTTP/1.1 408 Request Timeout\r\n\r\n").close();
    assert.deepEqual(open().client("GE").told, ["http learned"]);
  });

  test("junk to an HTTP server, however much, teaches nothing and clears nothing", () => {
    const { open, learn } = start();
    for (let i = 0; i < 5; i++) open().client("\0junk").server("HTTP/1.1 400 Bad Request\r\n\r\n").close();
    assert.deepEqual(open().client("GE").told, []);
    learn("http");
    for (let i = 0; i < 5; i++) open().client("\0junk").server("HTTP/1.1 400 Bad Request\r\n\r\n").close();
    for (let i = 0; i < 5; i++) open().client("GET junk\r\n").server("<html>").close();
    for (let i = 0; i < 5; i++) open().client("\0junk").close();
    assert.deepEqual(open().client("GE").told, ["http learned"]);
  });

  test("what was learned expires after ten minutes", () => {
    const { clock, open, learn } = start();
    learn("http");
    clock.advance(10 * 60_000 - 1);
    assert.deepEqual(open().client("GE").told, ["http learned"]);
    clock.advance(1);
    assert.deepEqual(open().client("GE").told, []);
  });

  test("tells every stream exactly once, in whatever order things happen", () => {
    const act = fc.record({
      act: fc.constantFrom("open", "half", "request", "greeting", "answer", "close", "wait"),
      stream: fc.nat(9),
      ms: fc.nat(6000),
    });
    fc.assert(
      fc.property(fc.array(act, { size: "large" }), (acts) => {
        const { clock, open } = start();
        const streams: { stream: Stream; openedMs: number; isClosed: boolean }[] = [];
        for (const { act, stream: index, ms } of acts) {
          const chosen = streams[index % Math.max(streams.length, 1)];
          if (act === "open") streams.push({ stream: open(), openedMs: clock.now, isClosed: false });
          else if (act === "wait") clock.advance(ms);
          else if (chosen === undefined || chosen.isClosed) continue;
          else if (act === "half") chosen.stream.client("GE");
          else if (act === "request") chosen.stream.client("GET / HTTP/1.1\r\n");
          else if (act === "greeting") chosen.stream.server("220 mail\r\n");
          else if (act === "answer") chosen.stream.server("HTTP/1.1 200 OK\r\n");
          else {
            chosen.stream.close();
            chosen.isClosed = true;
          }
          for (const { stream, openedMs, isClosed } of streams) {
            assert.ok(stream.told.length <= 1);
            if (isClosed || clock.now >= openedMs + timeoutMs) assert.equal(stream.told.length, 1);
            if (isClosed) assert.equal(stream.observation, undefined);
          }
          assert.ok(clock.timers.length <= 1);
        }
        for (const { stream } of streams) stream.close();
        clock.advance(2 * timeoutMs);
        assert.equal(clock.timers.length, 0);
        for (const { stream } of streams) assert.equal(stream.told.length, 1);
      }),
    );
  });
});
