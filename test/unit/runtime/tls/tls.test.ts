// TLS as a property of the reactor's connections; node:tls is the other side, or the reactor itself.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createServer, connect as netConnect } from "node:net";
import { constants } from "node:os";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { native } from "../../../../src/runtime/native.ts";
import { pattern, ReactorFixture, stat, stayAwake } from "../reactor-fixture.ts";
import { Authority } from "./certificates.ts";
import {
  contextOptions,
  dialFrom,
  exchange,
  hashOf,
  makeContext,
  mesh,
  nodeOptions,
  nodeServer,
  protocols,
  readAll,
  TlsEcho,
  TlsOriginFixture,
  TlsRecorder,
  TlsServerFixture,
  web,
} from "./tls-fixture.ts";

const { EPROTO, ECONNRESET } = constants.errno;

test("a server's session tells the client's certificate and the protocol, then carries bytes both ways", async () => {
  const echo = new TlsEcho();
  using fixture = new TlsServerFixture(() => echo);
  const client = mesh.issue({ uri: "spiffe://mesh.test/ns/shop/sa/cart" });
  const socket = await fixture.dialTls(nodeOptions(client));
  assert.equal(socket.getProtocol(), "TLSv1.3");
  assert.equal(socket.alpnProtocol, "h2");
  assert.match(socket.getCipher().name, /^TLS_AES_(256|128)_GCM_/);
  assert.equal(
    new X509Certificate(socket.getPeerX509Certificate()!.raw).subjectAltName,
    "URI:spiffe://mesh.test/ns/default/sa/web",
  );
  const answer = readAll(socket);
  socket.end("hello");
  assert.equal((await answer).toString(), "hello");
  assert.deepEqual(echo.told.slice(0, 2), ["established 0", "data"]);
  assert.ok(echo.certificate!.equals(client.chain[0]!));
  socket.destroy();
});

test("a client's session tells the server's certificate and the protocol, then carries bytes both ways", async () => {
  let seen: Buffer | undefined;
  using server = await nodeServer((socket) => {
    if (socket.authorized) seen = socket.getPeerX509Certificate()?.raw;
    socket.pipe(socket);
  });
  using fixture = new TlsOriginFixture(server.port);
  const socket = await fixture.dial();
  const answer = readAll(socket);
  socket.end("hello");
  assert.equal((await answer).toString(), "hello");
  const { secure } = fixture.legs[0]!;
  assert.ok(secure.told.includes("established 0"));
  assert.ok(secure.certificate!.equals(web.chain[0]!));
  assert.ok(seen?.equals(web.chain[0]!));
});

for (const [what, sizes] of Object.entries({
  "16 MiB in full records": new Array<number>(16).fill(1 << 20),
  "single bytes": new Array<number>(3000).fill(1),
  "every size around a record": [16383, 16384, 16385, 1, 32768, 32767, 2, 49153],
})) {
  test(`${what} come back in order through both roles`, async () => {
    using _awake = stayAwake();
    const echo = new TlsEcho();
    using server = new TlsServerFixture(() => echo);
    using client = new TlsOriginFixture(server.port);
    const socket = await client.dial();
    await exchange(socket, sizes);
    await echo.hears("closed");
    assert.equal(server.stats[stat.blocksInUse], 0);
    assert.equal(client.stats[stat.blocksInUse], 0);
    assert.deepEqual([server.stats[stat.tlsSessions], client.stats[stat.tlsSessions]], [0, 0]);
  });
}

test("back-pressure is that of a plain connection: a reader that stops stops the writer, whose memory stays bounded", async () => {
  using _awake = stayAwake();
  const echo = new TlsEcho();
  using fixture = new TlsServerFixture(() => echo, { blocks: 64 });
  const socket = await fixture.dialTls();
  // More than all the kernel's buffers hold.
  const bytes = pattern(3, 32 << 20);
  let sent = false;
  socket.end(bytes, () => {
    sent = true;
  });
  await echo.hears("blocked");
  assert.equal(sent, false, "not all of it went anywhere");
  assert.ok(fixture.stats[stat.blocksInUse]! <= 16, `${fixture.stats[stat.blocksInUse]} blocks`);
  const answer = await readAll(socket);
  assert.equal(hashOf(answer), hashOf(bytes));
  assert.ok(echo.told.includes("drained"));
});

test("a slab that is too small for what is going on slows reading and loses nothing", async () => {
  using _awake = stayAwake();
  using fixture = new TlsServerFixture(() => new TlsEcho(), { blocks: 3 });
  const sockets = await Promise.all(Array.from({ length: 6 }, () => fixture.dialTls()));
  await Promise.all(
    sockets.map(async (socket, i) => {
      const bytes = pattern(i, 2 << 20);
      const answer = readAll(socket);
      socket.end(bytes);
      assert.equal(hashOf(await answer), hashOf(bytes));
    }),
  );
});

test("nothing of the peer's is delivered, and nothing is sent to it, before it is accepted", async () => {
  let accept: (() => void) | undefined;
  const handler = new TlsRecorder((connection) => {
    accept = () => connection.acceptPeer();
  });
  using fixture = new TlsServerFixture(() => handler);
  const socket = await fixture.dialTls();
  const received: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => received.push(chunk));
  socket.write("impatient");
  await handler.hears("established");
  // Another connection's whole exchange goes by meanwhile: time enough for a mistake.
  const other = await fixture.dialTls();
  other.write("x");
  other.destroy();
  assert.deepEqual([handler.told, received], [["established 0"], []]);
  accept!();
  await handler.hears("bytes 9");
  assert.equal(handler.bytes.toString(), "impatient");
});

test("a peer that is refused gets the alert that was asked for, and none of its bytes arrive", async () => {
  const handler = new TlsRecorder((connection) => connection.refusePeer(49));
  using fixture = new TlsServerFixture(() => handler);
  const socket = tlsConnect({ ...nodeOptions(), port: fixture.port, host: "127.0.0.1" });
  socket.on("secureConnect", () => socket.write("please"));
  socket.on("error", () => {}); // the write may still fail after the alert
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  assert.match(error.message, /access denied/);
  assert.deepEqual(handler.told, ["established 0", "closed 0 true"]);
});

test("a peer that was accepted can be refused later: it gets the alert, and the connection is gone", async () => {
  const handler = new TlsRecorder();
  using fixture = new TlsServerFixture(() => handler);
  const socket = await fixture.dialTls();
  socket.write("please");
  await handler.hears("bytes 6");
  handler.connection!.refusePeer(49);
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  assert.match(error.message, /access denied/);
  assert.deepEqual(handler.told, ["established 0", "data", "bytes 6", "closed 0 true"]);
  assert.equal(fixture.stats[stat.tlsSessions], 0);
});

test("half-close: close_notify and FIN end one direction, the other goes on", async () => {
  const handler = new TlsRecorder();
  using server = new TlsServerFixture(() => handler);
  using client = new TlsOriginFixture(server.port);
  const socket = await client.dial();
  await handler.hears("established");
  handler.connection!.shutdown();
  await once(socket.resume(), "end");
  socket.write("still here");
  await handler.hears("bytes 10");
  socket.end();
  await handler.hears("end");
  assert.deepEqual(handler.told, ["established 0", "data", "bytes 10", "end"]);
  assert.ok(client.legs[0]!.secure.told.includes("end"));
});

test("FIN without close_notify is told as truncated, after the bytes that came, and never as an end", async () => {
  const handler = new TlsRecorder();
  using fixture = new TlsServerFixture(() => handler);
  // Between node:tls and its socket, so that the FIN is ours alone.
  const raw = netConnect({ port: fixture.port, host: "127.0.0.1", allowHalfOpen: true });
  await once(raw, "connect");
  const wire = new Duplex({
    read() {},
    write(chunk, _, done) {
      raw.write(chunk, done);
    },
    final(done) {
      done();
    },
  });
  raw.on("data", (chunk) => wire.push(chunk));
  const socket = tlsConnect({ ...nodeOptions(), socket: wire });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.write("half a mess");
  await handler.hears("bytes 11");
  raw.end();
  await handler.hears("closed");
  assert.match(handler.told.at(-2)!, /^failed truncated/);
  assert.equal(handler.told.at(-1), `closed ${EPROTO} true`);
  assert.equal(handler.told.includes("end"), false);
});

test("RST stays RST: closed(ECONNRESET), with no reason of TLS", async () => {
  const handler = new TlsRecorder();
  using server = new TlsServerFixture(() => handler);
  using client = new TlsOriginFixture(server.port);
  (await client.dial()).resetAndDestroy();
  await handler.hears("closed");
  assert.deepEqual(handler.told.at(-1), `closed ${ECONNRESET} true`);
  assert.equal(
    handler.told.some((word) => word.startsWith("failed truncated")),
    false,
  );
});

test("a reset after what was written never looks like a whole stream: no close_notify before the RST", async () => {
  const handler = new (class extends TlsRecorder {
    override onData(...slice: Parameters<TlsRecorder["onData"]>): void {
      const [connection, block, generation, offset, length] = slice;
      connection.write(block, generation, offset, length, true);
      connection.resetAfterQueue(1000);
    }
  })();
  using server = new TlsServerFixture(() => handler);
  using client = new TlsOriginFixture(server.port);
  const socket = await client.dial();
  socket.write("ping");
  await client.acceptedConnection();
  const { secure } = client.legs[0]!;
  await secure.hears("closed");
  assert.equal(secure.told.includes("end"), false);
  assert.equal(secure.told.at(-1), `closed ${ECONNRESET} true`);
});

test("what a turn writes in pieces leaves as one record", async () => {
  // Each byte of a block as a slice of its own.
  const handler = new (class extends TlsRecorder {
    override onData(
      connection: Parameters<TlsRecorder["onData"]>[0],
      block: number,
      generation: number,
      offset: number,
      length: number,
    ): void {
      for (let i = 0; i < length; i++) connection.write(block, generation, offset + i, 1, i === length - 1);
    }
  })();
  using fixture = new TlsServerFixture(() => handler);
  const raw = netConnect({ port: fixture.port, host: "127.0.0.1" });
  const records: Buffer[] = [];
  const socket = tlsConnect({ ...nodeOptions(), socket: raw });
  await once(socket, "secureConnect");
  await handler.hears("established");
  await new Promise(setImmediate);
  const before = raw.bytesRead;
  socket.write(pattern(1, 500));
  let got = 0;
  while (got < 500) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    records.push(chunk);
    got += chunk.length;
  }
  // A record is 5 bytes of header, the bytes, their type, 16 bytes of tag.
  assert.equal(raw.bytesRead - before, 5 + 500 + 1 + 16);
  socket.destroy();
});

test("contexts are swapped without touching open connections", async () => {
  const context = makeContext();
  const handlers: TlsRecorder[] = [];
  using fixture = new TlsServerFixture(
    () => {
      const echo = new TlsEcho();
      handlers.push(echo);
      return echo;
    },
    { context },
  );
  const before = await fixture.dialTls();
  const next = new Authority("next root");
  const renewed = next.issue();
  native.setTlsContext(context, contextOptions({ identity: renewed, roots: [next.root] }));
  const answer = readAll(before);
  const after = await fixture.dialTls({ ...nodeOptions(renewed), ca: undefined, rejectUnauthorized: false });
  assert.ok(after.getPeerX509Certificate()!.raw.equals(renewed.chain[0]!));
  before.end("still");
  assert.equal((await answer).toString(), "still");
  after.destroy();
  native.removeTlsContext(context);
  const late = tlsConnect({ ...nodeOptions(renewed), port: fixture.port, host: "127.0.0.1" });
  late.on("error", () => {});
  await fixture.acceptedConnection(3);
  await handlers[2]!.hears("closed");
  assert.deepEqual(handlers[2]!.told, ["failed noContext 0", `closed ${EPROTO} true`]);
});

test("a context that is refused changes nothing, and says what is wrong", () => {
  const id = makeContext();
  const other = mesh.issue();
  const refused = (choice: Parameters<typeof contextOptions>[0], message: RegExp) =>
    assert.throws(() => native.setTlsContext(id, contextOptions(choice)), message);
  refused({ key: Buffer.from("no key") }, /set TLS context \d+: the key is not DER/);
  refused({ key: other.key }, /the key: .*mismatch/);
  refused({ certificateChain: [Buffer.from("no certificate")] }, /certificate 1 of the chain: /);
  refused({ roots: [mesh.root, Buffer.from([0x30])] }, /root 2: /);
  refused({ roots: [Buffer.concat([mesh.root, Buffer.from([0])])] }, /root 1: not one DER certificate/);
});

test("the key that was handed over is wiped, also where it was refused", () => {
  const good = contextOptions();
  native.setTlsContext(makeContext(), good);
  assert.ok(good.key.every((byte) => byte === 0));
  const bad = contextOptions({ certificateChain: mesh.issue().chain });
  assert.throws(() => native.setTlsContext(makeContext(), bad));
  assert.ok(bad.key.every((byte) => byte === 0));
});

test("keys are updated in both directions while bytes flow both ways", async () => {
  using _awake = stayAwake();
  // Where the wire shows it: tls-interop.test.ts. Here both roles do it, many times, in the middle of everything.
  const context = makeContext({ keyUpdateRecords: 3 });
  using server = new TlsServerFixture(() => new TlsEcho(), { context });
  using client = new TlsOriginFixture(server.port, { context });
  const socket = await client.dial();
  const bytes = pattern(9, 4 << 20);
  const answer = readAll(socket);
  socket.end(bytes);
  assert.equal(hashOf(await answer), hashOf(bytes));
});

test("the hybrid group is agreed on where both sides can, X25519 where one cannot", async () => {
  using hybrid = new TlsServerFixture(() => new TlsEcho(), { context: makeContext({ isHybrid: true }) });
  const groupOf = (socket: TLSSocket) => (socket.getEphemeralKeyInfo() as { name?: string }).name;
  const able = await hybrid.dialTls({ ecdhCurve: "X25519MLKEM768" });
  const unable = await hybrid.dialTls({ ecdhCurve: "X25519" });
  assert.equal(groupOf(unable), "X25519");
  assert.notEqual(groupOf(able), "X25519");
  able.destroy();
  unable.destroy();
});

test("without a requirement a client needs no certificate, and is told to have none", async () => {
  const handler = new TlsRecorder();
  using fixture = new TlsServerFixture(() => handler, { context: makeContext({ requiresPeerCertificate: false }) });
  const socket = await fixture.dialTls({ cert: undefined, key: undefined });
  await handler.hears("established");
  assert.equal(handler.certificate, undefined);
  socket.destroy();
});

test("no session tickets are sent and no session is resumed", async () => {
  using fixture = new TlsServerFixture(() => new TlsEcho());
  const sessions: Buffer[] = [];
  const first = tlsConnect({ ...nodeOptions(), port: fixture.port, host: "127.0.0.1" });
  first.on("session", (session: Buffer) => sessions.push(session));
  const answer = readAll(first);
  await once(first, "secureConnect");
  first.end("x");
  await answer;
  assert.equal(sessions.length, 0);
});

test("commands to a session of an earlier generation touch nobody else", async () => {
  const handlers: TlsRecorder[] = [];
  using fixture = new TlsServerFixture(() => {
    const recorder = new TlsRecorder(() => {});
    handlers.push(recorder);
    return recorder;
  });
  const first = await fixture.dialTls();
  await handlers[0]!.hears("established");
  const old = handlers[0]!.connection!;
  old.reset();
  await handlers[0]!.hears("closed");
  const second = await fixture.dialTls();
  await handlers[1]!.hears("established");
  assert.equal(handlers[1]!.connection!.index, old.index, "the slot is used again");
  old.acceptPeer();
  old.isClosing = false;
  old.refusePeer(49);
  old.startTls({ context: 1, isServer: true, protocols: 1, timeoutMs: 1 }, handlers[0]!);
  fixture.reactor.flush();
  assert.equal(fixture.stats[stat.staleHandles], 3);
  assert.deepEqual(handlers[1]!.told, ["established 0"]);
  first.destroy();
  second.destroy();
});

test("accepting twice, or before the handshake's end, changes nothing", async () => {
  const handler = new TlsRecorder((connection) => {
    connection.acceptPeer();
    connection.acceptPeer();
  });
  using fixture = new TlsServerFixture(() => handler);
  const raw = netConnect({ port: fixture.port, host: "127.0.0.1" });
  (await fixture.acceptedConnection()).acceptPeer();
  raw.write("not yet TLS");
  await handler.hears("closed");
  assert.deepEqual(handler.told.at(0)?.split(" ").slice(0, 2), ["failed", "notTls"]);
  const socket = await fixture.dialTls();
  await handler.hears("established");
  socket.destroy();
});

test("a plain connection beside TLS ones is as it was", async () => {
  using server = new TlsServerFixture(() => new TlsEcho());
  using plain = new ReactorFixture(() => new TlsRecorder());
  const secure = await server.dialTls();
  const socket = await plain.dial();
  const connection = await plain.acceptedConnection();
  const handler = connection.handler as TlsRecorder;
  socket.end("plain");
  await handler.hears("end");
  assert.equal(handler.bytes.toString(), "plain");
  secure.destroy();
});

test("a client's handshake begins when its connection stands, and a connection that fails is told as ever", async () => {
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address() as { port: number };
  closed.close();
  await once(closed, "close");
  using fixture = new ReactorFixture(() => new TlsRecorder());
  const handler = new TlsRecorder();
  dialFrom(fixture, port, handler);
  await handler.hears("closed");
  assert.deepEqual(handler.told, [`closed ${constants.errno.ECONNREFUSED} false`]);
  assert.equal(protocols[0], "h2");
});
