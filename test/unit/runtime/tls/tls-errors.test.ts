// What a peer may have wrong, each with an error code of its own, in both roles; others do not notice; over IPv4 and IPv6.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createNetServer, connect as netConnect } from "node:net";
import { constants } from "node:os";
import { describe, test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { tlsFailure } from "../../../../src/runtime/layout.ts";
import { describeError } from "../../../../src/telemetry/errors.ts";
import { tlsAlertName, tlsErrorCode } from "../../../../src/telemetry/tls-errors.ts";
import { listenOnLoopback, loopbacks, stat, stayAwake } from "../reactor-fixture.ts";
import { Authority } from "./certificates.ts";
import {
  dialFrom,
  makeContext,
  mesh,
  nodeOptions,
  nodeServer,
  TlsEcho,
  TlsRecorder,
  TlsServerFixture,
} from "./tls-fixture.ts";

const { ETIMEDOUT, EPROTO } = constants.errno;
const hourMs = 3_600_000;
const ago = (hours: number) => new Date(Date.now() - hours * hourMs);
const stranger = new Authority("another mesh's root");
const intermediate = new Authority("intermediate", mesh);
const notAuthority = new Authority("not an authority", mesh, { isAuthority: false });

/** The peer is node:tls; what it has is wrong in one way. */
const cases: readonly (readonly [
  what: string,
  code: string,
  alert: string,
  options: ReturnType<typeof nodeOptions>,
])[] = [
  ["a certificate of another authority", "TLS_UNTRUSTED", "unknown_ca", nodeOptions(stranger.issue())],
  ["a certificate by one that is no authority", "TLS_UNTRUSTED", "unknown_ca", nodeOptions(notAuthority.issue())],
  [
    "an expired certificate",
    "TLS_EXPIRED",
    "certificate_expired",
    nodeOptions(mesh.issue({ notBefore: ago(48), notAfter: ago(1) })),
  ],
  [
    "a certificate of tomorrow",
    "TLS_NOT_YET_VALID",
    "bad_certificate",
    nodeOptions(mesh.issue({ notBefore: ago(-1), notAfter: ago(-24) })),
  ],
  [
    "a certificate for signing code",
    "TLS_WRONG_USAGE",
    "unsupported_certificate",
    nodeOptions(mesh.issue({ usages: ["codeSigning"] })),
  ],
  ["TLS 1.2 only", "TLS_VERSION", "protocol_version", { ...nodeOptions(), maxVersion: "TLSv1.2" }],
  [
    "another application protocol",
    "TLS_APPLICATION_PROTOCOL",
    "no_application_protocol",
    { ...nodeOptions(), ALPNProtocols: ["http/1.1"] },
  ],
];

function codeOf(handler: TlsRecorder): string[] {
  const [, name, alert] = handler.told.find((word) => word.startsWith("failed"))?.split(" ") ?? [];
  return [`${tlsErrorCode(tlsFailure[name as keyof typeof tlsFailure])}`, tlsAlertName(Number(alert))];
}

for (const address of loopbacks) {
  describe(`over ${address}`, () => {
    for (const [what, code, alert, options] of cases) {
      test(`a client with ${what}: ${code}, alert ${alert}`, async () => {
        using _awake = stayAwake();
        const handler = new TlsRecorder();
        using fixture = new TlsServerFixture(() => handler, { shared: listenOnLoopback(128, address) });
        const socket = tlsConnect({ ...options, port: fixture.port, host: address });
        const errors: string[] = [];
        socket.on("error", (error: NodeJS.ErrnoException) => errors.push(`${error.code}`));
        await handler.hears("closed");
        assert.deepEqual(codeOf(handler), [code, alert]);
        assert.equal(handler.told.at(-1), `closed ${EPROTO} true`);
        while (errors.length === 0) await new Promise(setImmediate);
        // The peer can tell from the alert too.
        assert.match(
          errors[0]!,
          new RegExp(`ALERT_${alert.replace("no_application_protocol", "\\w+").toUpperCase()}|ALERT`),
        );
      });
    }

    test("a client without a certificate: TLS_NO_CERTIFICATE, alert certificate_required", async () => {
      using _awake = stayAwake();
      const handler = new TlsRecorder();
      using fixture = new TlsServerFixture(() => handler, { shared: listenOnLoopback(128, address) });
      const { cert: _cert, key: _key, ...options } = nodeOptions();
      const socket = tlsConnect({ ...options, port: fixture.port, host: address });
      socket.on("error", () => {});
      await handler.hears("closed");
      assert.deepEqual(codeOf(handler), ["TLS_NO_CERTIFICATE", "certificate_required"]);
    });

    for (const [what, code, alert, options] of cases) {
      test(`a server with ${what}: ${code}`, async () => {
        using _awake = stayAwake();
        using server = await nodeServer(() => {}, { ...options, rejectUnauthorized: false }, address);
        const handler = new TlsRecorder();
        using fixture = new TlsServerFixture(() => new TlsEcho(), { shared: listenOnLoopback(128, address) });
        dialFrom(fixture, server.port, handler);
        await handler.hears("closed");
        assert.deepEqual(codeOf(handler), [code, alert]);
      });
    }

    test("a server that refuses our certificate: TLS_REFUSED_BY_PEER, with its alert", async () => {
      using _awake = stayAwake();
      using server = new TlsServerFixture(() => new TlsEcho(), { shared: listenOnLoopback(128, address) });
      const handler = new TlsRecorder();
      using fixture = new TlsServerFixture(() => new TlsEcho(), { shared: listenOnLoopback(128, address) });
      dialFrom(fixture, server.port, handler, { context: makeContext({ identity: stranger.issue() }) });
      await handler.hears("closed");
      // In TLS 1.3 a client's handshake is over before the server has looked at its certificate.
      assert.equal(handler.told[1], "established 0");
      assert.deepEqual(codeOf(handler), ["TLS_REFUSED_BY_PEER", "unknown_ca"]);
    });

    test("a chain over an intermediate authority is fine, and so is a root that is not self-signed", async () => {
      using _awake = stayAwake();
      const identity = intermediate.issue();
      for (const roots of [[mesh.root], [intermediate.root]]) {
        const handler = new TlsRecorder();
        using fixture = new TlsServerFixture(() => handler, {
          shared: listenOnLoopback(128, address),
          context: makeContext({ roots }),
        });
        const socket = await fixture.dialTls(nodeOptions(identity));
        await handler.hears("established");
        assert.ok(handler.certificate!.equals(identity.chain[0]!));
        socket.destroy();
      }
    });

    for (const [what, bytes, code] of [
      ["an HTTP answer", "HTTP/1.1 400 Bad Request\r\n\r\n", "TLS_NOT_TLS"],
      ["an SSH banner", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "TLS_NOT_TLS"],
      ["nothing but FIN", "", "TLS_TRUNCATED"],
      ["an alert", "\x15\x03\x03\x00\x02\x02\x28", "TLS_REFUSED_BY_PEER"],
      ["an empty ServerHello", "\x16\x03\x03\x00\x04\x02\x00\x00\x00", "TLS_PROTOCOL"],
    ] as const) {
      test(`a server that answers with ${what}: ${code}`, async () => {
        using _awake = stayAwake();
        const server = createNetServer((socket) => {
          socket.on("error", () => {});
          socket.once("data", () => socket.end(bytes, "latin1"));
        }).listen(0, address);
        await once(server, "listening");
        const handler = new TlsRecorder();
        using fixture = new TlsServerFixture(() => new TlsEcho(), { shared: listenOnLoopback(128, address) });
        dialFrom(fixture, (server.address() as { port: number }).port, handler);
        await handler.hears("closed");
        assert.equal(codeOf(handler)[0], code);
        server.close();
      });
    }

    for (const where of ["before the first byte", "a byte at a time", "after the handshake, undecided"] as const) {
      test(`a handshake that takes too long, ${where}: TLS_TIMEOUT`, async () => {
        using _awake = stayAwake();
        const handler = new TlsRecorder(() => {});
        using fixture = new TlsServerFixture(() => handler, { shared: listenOnLoopback(128, address), timeoutMs: 300 });
        const socket = netConnect({ port: fixture.port, host: address, noDelay: true });
        socket.on("error", () => {});
        await once(socket, "connect");
        const timer = setInterval(() => where === "a byte at a time" && socket.write("\x16"), 20);
        if (where === "a byte at a time") socket.write("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03", "latin1");
        if (where === "after the handshake, undecided") tlsConnect({ ...nodeOptions(), socket }).on("error", () => {});
        await handler.hears("closed");
        clearInterval(timer);
        assert.equal(codeOf(handler)[0], "TLS_TIMEOUT");
        assert.equal(handler.told.at(-1), `closed ${ETIMEDOUT} true`);
        socket.destroy();
      });
    }

    test("other connections carry on while handshakes fail, one after the other and in a crowd", async () => {
      using _awake = stayAwake();
      const handlers: TlsRecorder[] = [];
      using fixture = new TlsServerFixture(
        () => {
          const echo = new TlsEcho();
          handlers.push(echo);
          return echo;
        },
        { shared: listenOnLoopback(128, address) },
      );
      const neighbour = await fixture.dialTls();
      let echoed = 0;
      neighbour.on("data", (chunk: Buffer) => {
        echoed += chunk.length;
        neighbour.write(chunk);
      });
      neighbour.write("ping");
      const bad = Array.from({ length: 60 }, (_, i) => {
        const socket = netConnect({ port: fixture.port, host: address });
        socket.on("error", () => {});
        socket.end(i % 2 === 0 ? "garbage, not TLS" : Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]));
        return once(socket.resume(), "close");
      });
      await Promise.all(bad);
      while (handlers.length < 61) await new Promise(setImmediate);
      await Promise.all(handlers.slice(1).map((handler) => handler.hears("closed")));
      const before = echoed;
      while (echoed < before + 40) await new Promise(setImmediate);
      assert.equal(
        handlers[0]!.told.some((word) => word.startsWith("closed")),
        false,
      );
      assert.ok(handlers.slice(1).every((handler) => /^TLS_(NOT_TLS|PROTOCOL)$/.test(codeOf(handler)[0]!)));
      neighbour.destroy();
    });

    test("a crowd of handshakes is served over several turns, and every one of them is served", async () => {
      using _awake = stayAwake();
      using fixture = new TlsServerFixture(() => new TlsEcho(), { shared: listenOnLoopback(128, address) });
      const sockets = Array.from({ length: 40 }, () => {
        const socket = tlsConnect({ ...nodeOptions(), port: fixture.port, host: address });
        socket.on("error", () => {});
        return once(socket, "secureConnect").then(() => socket.destroy());
      });
      await Promise.all(sockets);
      assert.ok(fixture.stats[stat.tlsPutOff]! > 0, "some had to wait for the next turn");
    });
  });
}

test("every failure has a code of its own, whose message has words for what went wrong", () => {
  const codes = Object.values(tlsFailure).flatMap((failure) => tlsErrorCode(failure) ?? []);
  assert.equal(codes.length, Object.keys(tlsFailure).length - 1);
  assert.equal(new Set(codes).size, codes.length);
  assert.equal(
    describeError("TLS_REFUSED_BY_PEER", { peer: "10.0.0.1:15008", alert: tlsAlertName(48) }),
    "agree on TLS with 10.0.0.1:15008: it refused with alert unknown_ca; see the log of that side",
  );
});
