// What a peer of the mesh may try, whose handshake is right: to keep a worker busy, to make it wait, or to confuse it.

import assert from "node:assert/strict";
import { constants } from "node:os";
import { test } from "node:test";
import { listenOnLoopback, pattern, stat, stayAwake } from "../reactor-fixture.ts";
import { contentType, message, messageType, RawClient, u8 } from "./raw-client.ts";
import { nodeServer, readAll, TlsEcho, TlsOriginFixture, TlsRecorder, TlsServerFixture, web } from "./tls-fixture.ts";

const { ECONNRESET, EPROTO } = constants.errno;
const { alert, applicationData, handshake } = contentType;
const closeNotify = Buffer.from([1, 0]);
const timeout = 30_000;

async function established(fixture: TlsServerFixture, handler: TlsRecorder): Promise<RawClient> {
  const client = await RawClient.dial(fixture.port);
  client.sendHello();
  await client.receiveFlight();
  client.finish(web);
  await handler.hears("established");
  return client;
}

test("key updates with bytes between them are all followed; with none between them they end the connection", {
  timeout,
}, async () => {
  using _awake = stayAwake();
  const echo = new TlsEcho();
  using fixture = new TlsServerFixture(() => echo);
  const client = await established(fixture, echo);
  for (let i = 0; i < 5; i++) {
    for (let j = 0; j < 20; j++) client.send(client.keyUpdate());
    client.send(client.sealed(applicationData, Buffer.from("hello")));
    assert.equal((await client.receive(5)).toString(), "hello");
  }
  client.send(...Array.from({ length: 2000 }, () => client.keyUpdate()));
  assert.equal(await client.alert(), 10);
  await echo.hears("closed");
  assert.deepEqual(echo.told.slice(-2), ["failed protocol 10", `closed ${EPROTO} true`]);
  client.socket.destroy();
});

test("records of one byte are read in portions: others come between them", { timeout }, async () => {
  using _awake = stayAwake();
  let most = 0;
  const handler = new (class extends TlsRecorder {
    override onData(...slice: Parameters<TlsRecorder["onData"]>): void {
      most = Math.max(most, slice[4]);
      super.onData(...slice);
    }
  })((connection) => {
    connection.acceptPeer();
    connection.pause();
  });
  using fixture = new TlsServerFixture(() => handler);
  const client = await established(fixture, handler);
  const count = 20_000;
  client.send(...Array.from({ length: count }, (_, i) => client.sealed(applicationData, u8(i & 0xff))));
  while (client.socket.writableLength > 0) await new Promise(setImmediate);
  handler.connection!.resume();
  fixture.reactor.flush();
  await handler.hears(`bytes ${count}`);
  assert.ok(handler.bytes.every((byte, i) => byte === (i & 0xff)));
  assert.ok(most <= 2000, `${most} records in one portion`);
  client.socket.destroy();
});

test("a ClientHello in records of one byte is read in portions too, and is as good as any", { timeout }, async () => {
  using _awake = stayAwake();
  const handler = new TlsRecorder();
  using fixture = new TlsServerFixture(() => handler);
  const client = await RawClient.dial(fixture.port);
  await fixture.acceptedConnection();
  const hello = client.hello({ extensions: { 65520: Buffer.alloc(20_000) } });
  const before = fixture.stats[stat.rounds]!;
  client.sendHello(hello, 1);
  await client.receiveFlight();
  const rounds = fixture.stats[stat.rounds]! - before;
  client.finish(web);
  await handler.hears("established");
  // 6 bytes each, 8 KiB a round.
  assert.ok(rounds >= 10, `${rounds} rounds`);
  client.socket.destroy();
});

test("RST right behind close_notify is told", { timeout }, async () => {
  const handler = new TlsRecorder();
  using fixture = new TlsServerFixture(() => handler);
  const client = await established(fixture, handler);
  client.send(client.sealed(alert, closeNotify));
  client.socket.resetAndDestroy();
  await handler.hears("closed");
  assert.deepEqual(handler.told, ["established 0", "end", `closed ${ECONNRESET} true`]);
});

test("while half a message of the peer is outstanding, what is written waits for the other half", {
  timeout,
}, async () => {
  using _awake = stayAwake();
  const echo = new TlsEcho();
  using fixture = new TlsServerFixture(() => echo);
  const client = await established(fixture, echo);
  for (const isPaused of [false, true]) {
    const update = message(messageType.keyUpdate, u8(0));
    const told = echo.told.length;
    client.send(client.sealed(applicationData, Buffer.from("before")), client.sealed(handshake, update.subarray(0, 4)));
    while (!echo.told.slice(told).includes("blocked")) await new Promise(setImmediate);
    if (isPaused) echo.connection!.pause();
    client.send(client.sealed(handshake, update.subarray(4)));
    client.nextKeys();
    client.send(client.sealed(applicationData, Buffer.from(", after")));
    assert.equal((await client.receive(6)).toString(), "before");
    if (isPaused) echo.connection!.resume();
    assert.equal((await client.receive(7)).toString(), ", after");
  }
  client.send(client.sealed(alert, closeNotify));
  assert.equal(await client.alert(), 0);
  client.socket.destroy();
});

test("connections that unlisten accepts speak TLS from their first byte", { timeout }, async () => {
  const shared = listenOnLoopback();
  const client = await RawClient.dial(shared.port);
  client.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  const handler = new TlsRecorder();
  using fixture = new TlsServerFixture(() => handler, { shared });
  // Before a turn: what waits in the queue is accepted, and has bytes.
  fixture.reactor.unlisten(1);
  await handler.hears("closed");
  assert.deepEqual(handler.told, ["failed notTls 0", `closed ${EPROTO} true`]);
  client.socket.destroy();
});

test("handshakes go on when every block waits for peers to be accepted", { timeout }, async () => {
  using _awake = stayAwake();
  using server = await nodeServer((socket) => void socket.pipe(socket));
  using fixture = new TlsOriginFixture(server.port, { timeoutMs: 60_000, blocks: 4 });
  const bytes = pattern(3, 40_000);
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const socket = await fixture.dial();
      const answer = readAll(socket);
      socket.end(bytes);
      assert.ok((await answer).equals(bytes));
    }),
  );
});
