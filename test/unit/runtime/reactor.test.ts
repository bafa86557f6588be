import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { constants } from "node:os";
import { test } from "node:test";
import { setImmediate as nextIteration } from "node:timers/promises";
import type { Connection, ConnectionHandler } from "../../../src/runtime/connection.ts";
import { blockBytes } from "../../../src/runtime/layout.ts";
import { native } from "../../../src/runtime/native.ts";
import { listenOnLoopback, loopback, ownNetns, pattern, ReactorFixture, Recorder, stat } from "./reactor-fixture.ts";

/** kMaxReadBlocks of the reactor. */
const mostReadBlocks = 8;
const { ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT } = constants.errno;

/** Sends every byte back, as the proxy does: blocks go from read to write without a copy. */
class Echo extends Recorder {
  override onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
    connection.write(block, generation, offset, length, true);
  }
  override onBlocked(connection: Connection): void {
    connection.pause();
    super.onBlocked(connection);
  }
  override onDrained(connection: Connection): void {
    connection.resume();
    super.onDrained(connection);
  }
  override onEnd(connection: Connection): void {
    connection.close(0);
  }
}

/** `readable`: nothing is read before it. */
async function sendAndHash(
  socket: Socket,
  bytes: Buffer,
  readable: Promise<void> = Promise.resolve(),
): Promise<{ sent: string; received: string }> {
  const hash = createHash("sha256");
  socket.end(bytes);
  await readable;
  socket.on("data", (chunk) => hash.update(chunk));
  await once(socket, "end");
  return { sent: createHash("sha256").update(bytes).digest("hex"), received: hash.digest("hex") };
}

test("bytes come back in order through back-pressure, and every block returns", async () => {
  const echo = new Echo();
  using fixture = new ReactorFixture(() => echo);
  const socket = await fixture.dial();
  // More than all the kernel's buffers hold.
  const { sent, received } = await sendAndHash(socket, pattern(1, 32 * 1024 * 1024), echo.hears("blocked"));
  assert.equal(received, sent);
  assert.ok(echo.told.includes("drained"));
  await echo.hears("closed 0");
  assert.equal(fixture.stats[stat.blocksInUse], 0);
});

test("a slab that is too small for what is going on slows reading and loses nothing", async () => {
  using fixture = new ReactorFixture(() => new Echo(), { blocks: 3 });
  const sockets = await Promise.all(Array.from({ length: 8 }, () => fixture.dial()));
  const results = await Promise.all(sockets.map((socket, i) => sendAndHash(socket, pattern(i, 4 * 1024 * 1024))));
  for (const { sent, received } of results) assert.equal(received, sent);
  assert.ok(fixture.stats[stat.starvedReads]! > 0, "the slab ran out");
});

/** Writes until the echo has nowhere to go: nothing of it is read. */
async function stopReading(fixture: ReactorFixture, count: number): Promise<Socket> {
  const socket = await fixture.dial();
  const echo = (await fixture.acceptedConnection(count)).handler as Echo;
  socket.write(pattern(count, 32 * 1024 * 1024));
  await echo.hears("blocked");
  return socket;
}

test("a reader that has stopped leaves no more than one read's blocks with the reactor", async () => {
  using fixture = new ReactorFixture(() => new Echo());
  const socket = await stopReading(fixture, 1);
  for (let i = 0; i < 10; i++) await nextIteration();
  const held = fixture.stats[stat.blocksInUse]!;
  assert.ok(held > 0 && held <= mostReadBlocks, `${held} blocks`);
  socket.destroy();
});

test("readers that have stopped, three times as many as full reads would fill the slab with, leave blocks to others", async () => {
  const blocks = 8 * mostReadBlocks;
  using fixture = new ReactorFixture(() => new Echo(), { blocks });
  const sockets: Socket[] = [];
  for (let count = 1; count <= 3 * 8; count++) sockets.push(await stopReading(fixture, count));
  const { sent, received } = await sendAndHash(await fixture.dial(), pattern(0, 1024 * 1024));
  assert.equal(received, sent);
  assert.equal(fixture.stats[stat.starvedReads], 0);
  for (const socket of sockets) socket.destroy();
});

test("FIN is `end`, not `closed`: the other direction goes on", async () => {
  const handler = new Recorder();
  using fixture = new ReactorFixture(() => handler);
  const socket = await fixture.dial();
  const connection = await fixture.acceptedConnection();
  connection.shutdown();
  await once(socket.resume(), "end");
  socket.write("still here");
  await handler.hears("data");
  socket.end();
  await handler.hears("end");
  assert.deepEqual(handler.told, ["data", "end"]);
});

for (const state of ["read", "paused"]) {
  test(`RST is closed(ECONNRESET) on a connection that is ${state}`, async () => {
    const handler = new Recorder();
    using fixture = new ReactorFixture(() => handler);
    const socket = await fixture.dial();
    const connection = await fixture.acceptedConnection();
    if (state === "paused") connection.pause();
    await nextIteration();
    socket.resetAndDestroy();
    await handler.hears("closed");
    assert.deepEqual(handler.told, [`closed ${ECONNRESET} true`]);
  });
}

test("RST is told although FIN was told before", async () => {
  const handler = new Recorder();
  using fixture = new ReactorFixture(() => handler);
  const socket = await fixture.dial();
  socket.end();
  await handler.hears("end");
  socket.resetAndDestroy();
  await handler.hears("closed");
  assert.deepEqual(handler.told, ["end", `closed ${EPIPE} true`]);
});

test("`reset` reaches the peer as RST, `close` as FIN after what was written", async () => {
  using fixture = new ReactorFixture(() => new Recorder());
  const reset = await fixture.dial();
  const first = await fixture.acceptedConnection(1);
  const error = once(reset, "error");
  first.reset();
  assert.equal(((await error)[0] as NodeJS.ErrnoException).code, "ECONNRESET");
  const closed = await fixture.dial();
  (await fixture.acceptedConnection(2)).close(0);
  await once(closed.resume(), "end");
});

test("connecting to a port where nobody listens is closed(ECONNREFUSED), never connected", async () => {
  using fixture = new ReactorFixture(() => new Recorder());
  const closedPort = listenOnLoopback();
  native.netns("close", { fd: closedPort.fd });
  const handler = new Recorder();
  fixture.reactor.connect({ netns: ownNetns, destination: loopback(closedPort.port), timeoutMs: 1000 }, handler);
  await handler.hears("closed");
  assert.deepEqual(handler.told, [`closed ${ECONNREFUSED} false`]);
});

test("connecting gives up after its time-out with ETIMEDOUT", async () => {
  using fixture = new ReactorFixture(() => new Recorder());
  const full = listenOnLoopback(0); // one connection fills the queue; later SYNs are dropped
  const handlers = [new Recorder(), new Recorder(), new Recorder()];
  for (const handler of handlers) {
    fixture.reactor.connect({ netns: undefined, destination: loopback(full.port), timeoutMs: 100 }, handler);
  }
  await handlers[2]!.hears("closed");
  assert.deepEqual(handlers[2]!.told, [`closed ${ETIMEDOUT} false`]);
  native.netns("close", { fd: full.fd });
});

test("what was written before the connection stood is sent when it does", async () => {
  const server: Server = createServer((socket) => socket.on("error", () => {}).pipe(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const echoed = new Recorder();
  let upstream: Connection | undefined;
  const forward: ConnectionHandler = new (class extends Recorder {
    override onData(_: Connection, block: number, generation: number, offset: number, length: number): void {
      upstream = fixture.reactor.connect({ netns: ownNetns, destination: loopback(port), timeoutMs: 1000 }, echoed);
      upstream?.write(block, generation, offset, length, true);
    }
  })();
  using fixture = new ReactorFixture(() => forward);
  const socket = await fixture.dial();
  socket.write("early");
  await echoed.hears("data");
  assert.equal(echoed.told.filter((word) => word !== "blocked" && word !== "drained").join(), "connected,data");
  upstream?.reset();
  server.close();
});

test("a reset ends a connection that is closing and whose reader takes nothing: RST, and every block returns", async () => {
  const handler = new Recorder();
  using fixture = new ReactorFixture(() => handler, { blocks: 1024 });
  const socket = await fixture.dial(); // Paused: nothing listens for its data.
  const connection = await fixture.acceptedConnection();
  const echo = new (class extends Recorder {
    override onData(_: Connection, block: number, generation: number, offset: number, length: number): void {
      for (let i = 0; i < 800; i++) connection.write(block, generation, offset, length, false);
      connection.write(block, generation, offset, length, true);
      connection.close(0);
    }
  })();
  connection.handler = echo;
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => socket.once("error", resolve));
  socket.write(Buffer.alloc(blockBytes, 1));
  while (!connection.isClosing) await nextIteration();
  await nextIteration(); // The turn that closes it is over: the rest waits for the reader.
  assert.ok(fixture.stats[stat.blocksInUse]! > 0);
  connection.reset();
  await echo.hears("closed 0");
  await nextIteration();
  assert.equal(fixture.stats[stat.blocksInUse], 0);
  socket.resume();
  assert.equal((await failed).code, "ECONNRESET");
});

test("a reactor that closes ends what is open by RST: nobody takes a stream for whole that is cut off", async () => {
  const fixture = new ReactorFixture(() => new Recorder());
  const socket = await fixture.dial();
  await fixture.acceptedConnection();
  const failed = once(socket.resume(), "error");
  fixture[Symbol.dispose]();
  assert.equal(((await failed)[0] as NodeJS.ErrnoException).code, "ECONNRESET");
});

test("commands to a handle of an earlier generation touch nobody else", async () => {
  using fixture = new ReactorFixture(() => new Recorder());
  const first = await fixture.dial();
  const old = await fixture.acceptedConnection(1);
  const handler = old.handler as Recorder;
  first.resetAndDestroy();
  await handler.hears("closed");
  const second = await fixture.dial();
  const current = await fixture.acceptedConnection(2);
  assert.equal(current.index, old.index, "the slot is used again");
  old.reset();
  old.shutdown();
  fixture.reactor.flush();
  assert.equal(fixture.stats[stat.staleHandles], 2);
  assert.equal(fixture.stats[stat.openConnections], 1);
  assert.equal(second.destroyed, false);
});

test("a block that was given back cannot be written, and its bytes are gone", async () => {
  let kept: [number, number, number, number] | undefined;
  const handler = new (class extends Recorder {
    override onData(connection: Connection, ...slice: [number, number, number, number]): void {
      kept = slice;
      connection.reactor.release(slice[0], slice[1]);
      this.tell("data");
    }
  })();
  using fixture = new ReactorFixture(() => handler);
  const socket = await fixture.dial();
  socket.write("secret");
  await handler.hears("data");
  await nextIteration();
  const [block, generation, offset, length] = kept!;
  assert.deepEqual([...fixture.reactor.slab.subarray(offset, offset + length)], new Array(length).fill(0xdb));
  const connection = await fixture.acceptedConnection();
  connection.write(block, generation, offset, length, true);
  connection.close(0);
  const bytes: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => bytes.push(chunk));
  await once(socket, "end");
  assert.equal(Buffer.concat(bytes).length, 0);
  assert.equal(fixture.stats[stat.staleHandles], 1);
});

test("a block that was handed on cannot be given back, although it still waits to be written", async () => {
  const handler = new (class extends Recorder {
    override onData(connection: Connection, ...slice: [number, number, number, number]): void {
      connection.write(...slice, true);
      connection.reactor.release(slice[0], slice[1]);
      connection.close(0);
    }
  })();
  using fixture = new ReactorFixture(() => handler);
  const socket = await fixture.dial();
  socket.write("mine");
  const [bytes] = (await once(socket, "data")) as [Buffer];
  assert.equal(bytes.toString(), "mine");
  await handler.hears("closed");
  assert.equal(fixture.stats[stat.staleHandles], 1);
});

test("a slice that reaches out of its block is not written", async () => {
  const handler = new (class extends Recorder {
    override onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
      connection.write(block, generation, offset - 1, length, false);
      connection.write(block, generation, offset + 1, blockBytes, false);
      connection.write(block, generation, offset, 0, false);
      connection.write(block, generation, offset, length, true);
      connection.close(0);
    }
  })();
  using fixture = new ReactorFixture(() => handler);
  const socket = await fixture.dial();
  socket.write("mine");
  const [bytes] = (await once(socket, "data")) as [Buffer];
  assert.equal(bytes.toString(), "mine");
  await handler.hears("closed");
  assert.equal(fixture.stats[stat.staleHandles], 3);
});

test("accepted connections go to the least loaded worker", async () => {
  const shared = listenOnLoopback();
  using first = new ReactorFixture(() => new Recorder(), { worker: 0, shared });
  const second = new ReactorFixture(() => new Recorder(), { worker: 1, shared });
  const sockets: Socket[] = [];
  for (let i = 0; i < 24; i++) sockets.push(await first.dial());
  while (first.accepted.length + second.accepted.length < 24) await nextIteration();
  const difference = Math.abs(first.accepted.length - second.accepted.length);
  assert.ok(difference <= 4, `${first.accepted.length} and ${second.accepted.length}`);
  for (const socket of sockets) socket.destroy();
  second.reactor.close();
});

test("a timer fires once, a cleared one never", async () => {
  using fixture = new ReactorFixture(() => new Recorder());
  const fired: string[] = [];
  const cleared = fixture.reactor.setTimer(5, () => fired.push("cleared"));
  fixture.reactor.setTimer(5, () => fired.push("kept"));
  fixture.reactor.clearTimer(cleared);
  await new Promise<void>((resolve) => void fixture.reactor.setTimer(30, resolve));
  assert.deepEqual(fired, ["kept"]);
});

test("promises that a round's events resolved run before the next round", async () => {
  const order: string[] = [];
  const handler = new (class extends Recorder {
    override onData(connection: Connection, block: number, generation: number): void {
      connection.reactor.release(block, generation);
      order.push("data");
      Promise.resolve().then(() => order.push("promise"));
      // Its `closed` comes in the next round of the same turn.
      connection.reset();
    }
    override onClosed(): void {
      order.push("closed");
      this.tell("closed");
    }
  })();
  using fixture = new ReactorFixture(() => handler);
  (await fixture.dial()).write("x");
  await handler.hears("closed");
  assert.deepEqual(order, ["data", "promise", "closed"]);
});

test("what a promise commands comes after what its round commanded, and replaces none of it", async () => {
  let back: Connection | undefined;
  const handler = new (class extends Recorder {
    override onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
      connection.write(block, generation, offset, length, true);
      Promise.resolve().then(() => connection.shutdown());
      back = connection;
    }
  })();
  using fixture = new ReactorFixture(() => handler);
  const socket = await fixture.dial();
  socket.write("both");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "end");
  assert.equal(Buffer.concat(chunks).toString(), "both");
  back!.reset();
});
