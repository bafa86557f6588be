// The reactor's TLS with other implementations, in both roles, with certificates on both sides: large, tiny and split
// records, key updates from either side, half-close; over IPv4 and IPv6. (With node:tls: tls.test.ts.)

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, connect as netConnect } from "node:net";
import { Duplex } from "node:stream";
import { describe, test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { listenOnLoopback, loopbacks, pattern, stayAwake } from "../reactor-fixture.ts";
import { Credentials, goPeer, haproxy, hostAndPort, openssl, Peer } from "./peers/peers.ts";
import {
  exchange,
  hashOf,
  makeContext,
  mesh,
  nodeOptions,
  readAll,
  TlsEcho,
  TlsOriginFixture,
  TlsServerFixture,
} from "./tls-fixture.ts";

const identity = mesh.issue({ uri: "spiffe://mesh.test/ns/default/sa/other" });
const sizes = [1, 1, 2, 16383, 16384, 16385, 100, 32768, 1 << 20];

for (const address of loopbacks) {
  describe(`over ${address}`, () => {
    describe("Go's crypto/tls", () => {
      test("as the client: every size of write, half-close, and the same bytes back", async () => {
        using _awake = stayAwake();
        using credentials = new Credentials(identity);
        const echo = new TlsEcho();
        using fixture = new TlsServerFixture(() => echo, {
          shared: listenOnLoopback(128, address),
          context: makeContext({ keyUpdateRecords: 30 }),
        });
        using peer = new Peer(goPeer(), ["client", credentials.directory, address, `${fixture.port}`, "4000000"]);
        await peer.says(/^ok$/m);
        await echo.hears("closed 0");
        assert.ok(echo.certificate!.equals(identity.chain[0]!));
      });

      test("as the server: every size of write, half-close, and the same bytes back", async () => {
        using _awake = stayAwake();
        using credentials = new Credentials(identity);
        using peer = new Peer(goPeer(), ["server", credentials.directory, address]);
        const [port] = await peer.says(/^\d+$/m);
        using fixture = new TlsOriginFixture(Number(port), {
          shared: listenOnLoopback(128, address),
          context: makeContext({ keyUpdateRecords: 30 }),
        });
        await exchange(await fixture.dial(), sizes);
        assert.ok(fixture.legs[0]!.secure.certificate!.equals(identity.chain[0]!));
      });
    });

    describe("HAProxy", () => {
      test("terminating and originating TLS: every size of write, half-close, and the same bytes back", async () => {
        using _awake = stayAwake();
        using credentials = new Credentials(identity);
        const application = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, address);
        await once(application, "listening");
        const echo = new TlsEcho();
        using server = new TlsServerFixture(() => echo, {
          shared: listenOnLoopback(128, address),
          context: makeContext({ keyUpdateRecords: 30 }),
        });
        const { port } = application.address() as { port: number };
        using proxy = await haproxy(credentials, address, { plain: port, secure: server.port });

        using client = new TlsOriginFixture(proxy.secure, {
          shared: listenOnLoopback(128, address),
          context: makeContext({ keyUpdateRecords: 30 }),
        });
        await exchange(await client.dial(), sizes);
        assert.ok(client.legs[0]!.secure.certificate!.equals(identity.chain[0]!));

        const plain = netConnect({ port: proxy.plain, host: address, allowHalfOpen: true });
        await exchange(plain, sizes);
        assert.ok(echo.certificate!.equals(identity.chain[0]!));
        application.close();
      });
    });

    describe("openssl s_client", () => {
      test("talks, updates keys in both directions at either side's wish, and ends cleanly", async () => {
        using _awake = stayAwake();
        using credentials = new Credentials(identity);
        const echo = new TlsEcho();
        using fixture = new TlsServerFixture(() => echo, {
          shared: listenOnLoopback(128, address),
          context: makeContext({ keyUpdateRecords: 7 }),
        });
        using peer = openssl("s_client", credentials, ["-connect", hostAndPort(address, fixture.port)]);
        await peer.says(/Verify return code: 0/);
        await echo.hears("established 0");
        assert.ok(echo.certificate!.equals(identity.chain[0]!));
        const say = async (text: string) => {
          peer.process.stdin.write(`${text}\n`);
          await peer.says(new RegExp(`^${text}$`, "m"));
        };
        await say("first words");
        assert.deepEqual(keyUpdates(peer), { sent: 0, received: 0 });
        peer.process.stdin.write("K\n"); // an update, and a wish for ours, which comes before our next record
        await peer.says(/>>> TLS 1.3, Handshake \[length 0005\], KeyUpdate/);
        await say("under new keys");
        assert.deepEqual(keyUpdates(peer), { sent: 1, received: 1 });
        for (let i = 0; i < 8; i++) await say(`word ${i}`); // more than 7 records: now it is our wish
        assert.deepEqual(keyUpdates(peer), { sent: 1, received: 2 });
        peer.process.stdin.write("Q\n");
        await echo.hears("closed 0");
        assert.ok(echo.told.includes("end"), "close_notify came before FIN");
      });
    });

    describe("openssl s_server", () => {
      test("talks, updates keys in both directions at either side's wish, and is told when we end", async () => {
        using _awake = stayAwake();
        using credentials = new Credentials(identity);
        using peer = openssl("s_server", credentials, ["-accept", hostAndPort(address, 0), "-Verify", "2"]);
        const [, port] = await peer.says(/ACCEPT \S+:(\d+)/);
        using fixture = new TlsOriginFixture(Number(port), {
          shared: listenOnLoopback(128, address),
          context: makeContext({ keyUpdateRecords: 7 }),
        });
        const socket = await fixture.dial();
        let received = "";
        let wake = () => {};
        socket.on("data", (chunk: Buffer) => {
          received += chunk;
          wake();
        });
        const answer = async (text: string) => {
          peer.process.stdin.write(`${text}\n`);
          while (!received.includes(text)) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        };
        const say = async (text: string) => {
          socket.write(`${text}\n`);
          await peer.says(new RegExp(`^${text}$`, "m"));
        };
        await say("first words");
        await answer("an answer");
        assert.deepEqual(keyUpdates(peer), { sent: 0, received: 0 });
        peer.process.stdin.write("K\n");
        await peer.says(/>>> TLS 1.3, Handshake \[length 0005\], KeyUpdate/);
        await say("under new keys");
        assert.deepEqual(keyUpdates(peer), { sent: 1, received: 1 });
        for (let i = 0; i < 8; i++) await say(`word ${i}`);
        assert.deepEqual(keyUpdates(peer), { sent: 1, received: 2 });
        await answer("under newer keys");
        socket.end();
        await peer.says(/<<< TLS 1.3, Alert \[length 0002\], warning close_notify/);
        assert.ok(fixture.legs[0]!.secure.certificate!.equals(identity.chain[0]!));
      });
    });

    test("records that arrive a byte at a time, the handshake's too, are put together", async () => {
      using _awake = stayAwake();
      const echo = new TlsEcho();
      using fixture = new TlsServerFixture(() => echo, { shared: listenOnLoopback(128, address) });
      const raw = netConnect({ port: fixture.port, host: address, noDelay: true });
      await once(raw, "connect");
      const wire = new Duplex({
        read() {},
        write(chunk: Buffer, _, done) {
          const next = (at: number) => {
            if (at === chunk.length) done();
            else raw.write(chunk.subarray(at, at + 1), () => setImmediate(next, at + 1));
          };
          next(0);
        },
        final(done) {
          raw.end(done);
        },
      });
      raw.on("data", (chunk) => wire.push(chunk)).on("end", () => wire.push(null));
      const socket = tlsConnect({ ...nodeOptions(), socket: wire });
      await once(socket, "secureConnect");
      const bytes = pattern(5, 300);
      const answer = readAll(socket);
      socket.write(bytes.subarray(0, 1));
      socket.end(bytes.subarray(1));
      assert.equal(hashOf(await answer), hashOf(bytes));
    });
  });
}

/** As the peer's -msg shows them. */
function keyUpdates(peer: Peer): { sent: number; received: number } {
  const count = (direction: string) =>
    peer.output.split(`${direction} TLS 1.3, Handshake [length 0005], KeyUpdate`).length - 1;
  return { sent: count(">>>"), received: count("<<<") };
}
