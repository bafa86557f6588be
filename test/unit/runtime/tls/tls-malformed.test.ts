// Handshakes that are malformed or out of order, built by hand: each ends with the alert that RFC 8446 asks for (or
// OpenSSL's choice where it leaves one), and with a reason of its own.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { tlsFailure } from "../../../../src/runtime/layout.ts";
import { stayAwake } from "../reactor-fixture.ts";
import {
  contentType,
  extensionType as ext,
  extension,
  message,
  messageType,
  RawClient,
  record,
  u8,
  u16,
  u24,
  vector8,
  vector16,
} from "./raw-client.ts";
import { mesh, TlsEcho, type TlsRecorder, TlsServerFixture, web } from "./tls-fixture.ts";

const { alert, applicationData, changeCipherSpec, handshake } = contentType;
const empty = Buffer.alloc(0);

/** The alert's number, or undefined when the server sends none; the reason that the script is told. */
type Ending = readonly [alert: number | undefined, failure: keyof typeof tlsFailure];
type Case = readonly [title: string, ending: Ending, act: (client: RawClient) => void | Promise<void>];

const unexpectedMessage = 10;
const badRecordMac = 20;
const recordOverflow = 22;
const handshakeFailure = 40;
const illegalParameter = 47;
const decodeError = 50;
const decryptError = 51;
const protocolVersion = 70;
const missingExtension = 109;
const certificateRequired = 116;
const noApplicationProtocol = 120;

/** A ClientHello that is wrong in one way. */
function hello(title: string, ending: Ending, parts: Parameters<RawClient["hello"]>[0]): Case {
  return [title, ending, (client) => client.sendHello(client.hello(parts))];
}

/** Extensions of a hello, one of them wrong. */
function withExtension(title: string, ending: Ending, type: number, value: Buffer | undefined): Case {
  return hello(title, ending, { extensions: { [type]: value } });
}

const first: readonly Case[] = [
  ["an HTTP request", [undefined, "notTls"], (client) => client.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"))],
  ["zeros", [undefined, "notTls"], (client) => client.send(Buffer.alloc(64))],
  [
    "an SSLv2 hello",
    [protocolVersion, "notTls"],
    (client) => client.send(Buffer.from("802e0100020015000000100700c0", "hex"), Buffer.alloc(40)),
  ],
  ["a record of an unknown type", [unexpectedMessage, "notTls"], (client) => client.send(record(99, Buffer.alloc(20)))],
  [
    "application data",
    [unexpectedMessage, "protocol"],
    (client) => client.send(record(applicationData, Buffer.alloc(40))),
  ],
  ["ChangeCipherSpec", [unexpectedMessage, "protocol"], (client) => client.send(record(changeCipherSpec, u8(1)))],
  ["close_notify", [unexpectedMessage, "protocol"], (client) => client.send(record(alert, Buffer.from([1, 0])))],
  ["a fatal alert", [unexpectedMessage, "protocol"], (client) => client.send(record(alert, Buffer.from([2, 40])))],
  ["an alert of one byte", [unexpectedMessage, "protocol"], (client) => client.send(record(alert, Buffer.from([2])))],
  [
    "empty handshake records, one after the other",
    [unexpectedMessage, "protocol"],
    (client) => client.send(...new Array<Buffer>(40).fill(record(handshake, empty))),
  ],
  [
    "a record that is too long",
    [recordOverflow, "protocol"],
    (client) => client.send(record(handshake, Buffer.alloc(17_000))),
  ],
  [
    "a ServerHello",
    [unexpectedMessage, "protocol"],
    (client) => client.send(record(handshake, message(messageType.serverHello, Buffer.alloc(40)))),
  ],
  [
    "a Finished",
    [unexpectedMessage, "protocol"],
    (client) => client.send(record(handshake, message(messageType.finished, Buffer.alloc(32)))),
  ],
  [
    "a message of an unknown type",
    [unexpectedMessage, "protocol"],
    (client) => client.send(record(handshake, message(99, Buffer.alloc(40)))),
  ],
  [
    "a ClientHello without end",
    [illegalParameter, "protocol"],
    (client) => client.send(record(handshake, Buffer.concat([u8(1), u24(0xffffff), Buffer.alloc(100)]))),
  ],
  [
    "half a ClientHello and FIN",
    [decodeError, "truncated"],
    (client) => {
      client.send(record(handshake, client.hello().subarray(0, 60)));
      client.socket.end();
    },
  ],
  [
    "half a ClientHello, an alert, the other half",
    [unexpectedMessage, "protocol"],
    (client) => {
      const whole = client.hello();
      client.send(
        record(handshake, whole.subarray(0, 60)),
        record(applicationData, Buffer.alloc(30)),
        record(handshake, whole.subarray(60)),
      );
    },
  ],
  [
    "two ClientHellos in one record",
    [unexpectedMessage, "protocol"],
    (client) => client.send(record(handshake, Buffer.concat([client.hello(), client.hello()]))),
  ],
  [
    "a ClientHello with bytes after its end",
    [decodeError, "protocol"],
    (client) => {
      const right = client.hello();
      client.send(record(handshake, message(messageType.clientHello, Buffer.concat([right.subarray(4), u8(0)]))));
    },
  ],
  [
    "a ClientHello that ends in its random",
    [decodeError, "protocol"],
    (client) => client.send(record(handshake, message(messageType.clientHello, client.hello().subarray(4, 24)))),
  ],
];

const hellos: readonly Case[] = [
  hello("a session id of 33 bytes", [decodeError, "protocol"], { sessionId: Buffer.alloc(33) }),
  hello("an odd length of cipher suites", [decodeError, "protocol"], { cipherSuites: vector16(u16(0x1301), u8(0)) }),
  hello("no cipher suites", [decodeError, "protocol"], { cipherSuites: vector16() }),
  hello("no cipher suite in common", [handshakeFailure, "nothingInCommon"], { cipherSuites: vector16(u16(0x1303)) }),
  hello("no compression methods", [decodeError, "protocol"], { compression: vector8() }),
  hello("a compression method", [illegalParameter, "protocol"], { compression: vector8(u8(1)) }),
  hello("the same extension twice", [illegalParameter, "protocol"], {
    more: [extension(ext.supportedVersions, vector8(u16(0x0304)))],
  }),
  hello("an extension that is longer than the message", [decodeError, "protocol"], {
    more: [Buffer.concat([u16(0x1234), u16(500)])],
  }),
  withExtension("TLS 1.2 only", [protocolVersion, "version"], ext.supportedVersions, undefined),
  // SSL 3 has no protocol_version.
  hello("SSL 3 only", [handshakeFailure, "version"], {
    legacyVersion: 0x0300,
    extensions: { [ext.supportedVersions]: undefined },
  }),
  withExtension(
    "a list of versions without TLS 1.3",
    [protocolVersion, "version"],
    ext.supportedVersions,
    vector8(u16(0x0303)),
  ),
  withExtension(
    "a list of versions that is cut off",
    [protocolVersion, "protocol"],
    ext.supportedVersions,
    Buffer.from([4, 3]),
  ),
  withExtension("no groups", [missingExtension, "protocol"], ext.supportedGroups, undefined),
  withExtension("groups of odd length", [decodeError, "protocol"], ext.supportedGroups, vector16(u16(29), u8(0))),
  withExtension("no key share", [missingExtension, "nothingInCommon"], ext.keyShare, undefined),
  withExtension(
    "a key share of 31 bytes",
    [illegalParameter, "protocol"],
    ext.keyShare,
    vector16(u16(29), vector16(Buffer.alloc(31, 9))),
  ),
  withExtension(
    "a key share that is no point",
    [illegalParameter, "protocol"],
    ext.keyShare,
    vector16(u16(23), vector16(Buffer.alloc(65, 4))),
  ),
  withExtension(
    "an all-zero key share",
    [illegalParameter, "protocol"],
    ext.keyShare,
    vector16(u16(29), vector16(Buffer.alloc(32))),
  ),
  withExtension(
    "a key share of a group that is not offered",
    [illegalParameter, "protocol"],
    ext.keyShare,
    vector16(u16(24), vector16(Buffer.alloc(97, 4))),
  ),
  hello("no group in common", [handshakeFailure, "nothingInCommon"], {
    extensions: {
      [ext.supportedGroups]: vector16(u16(30)),
      [ext.keyShare]: vector16(u16(30), vector16(Buffer.alloc(56, 5))),
    },
  }),
  withExtension("no signature algorithms", [missingExtension, "protocol"], ext.signatureAlgorithms, undefined),
  withExtension(
    "no signature algorithm in common",
    [handshakeFailure, "nothingInCommon"],
    ext.signatureAlgorithms,
    vector16(u16(0x0201)),
  ),
  withExtension(
    "ALPN without our protocol",
    [noApplicationProtocol, "application"],
    ext.alpn,
    vector16(vector8(Buffer.from("http/1.1"))),
  ),
  withExtension("an empty list of ALPN", [decodeError, "protocol"], ext.alpn, vector16()),
  withExtension("an empty name in ALPN", [decodeError, "protocol"], ext.alpn, vector16(vector8())),
  withExtension("a server name that is cut off", [decodeError, "protocol"], ext.serverName, vector16(u8(0), u16(50))),
  hello("a pre-shared key that is not the last extension", [illegalParameter, "protocol"], {
    extensions: { [ext.pskModes]: vector8(u8(1)) },
    more: [extension(ext.preSharedKey, pskOf()), extension(0x1234, empty)],
  }),
  hello("a pre-shared key without its modes", [missingExtension, "protocol"], {
    more: [extension(ext.preSharedKey, pskOf())],
  }),
];

/** After the server's flight, so encrypted. */
const flights: readonly Case[] = [
  [
    "no encryption where it is due",
    [unexpectedMessage, "protocol"],
    (client) => client.send(record(handshake, client.certificate(web.chain))),
  ],
  [
    "a record that does not decrypt",
    [badRecordMac, "protocol"],
    (client) => client.send(record(applicationData, Buffer.alloc(60, 7))),
  ],
  [
    "a record shorter than its tag",
    [badRecordMac, "protocol"],
    (client) => client.send(record(applicationData, Buffer.alloc(8))),
  ],
  ["no certificate", [certificateRequired, "noCertificate"], (client) => client.sendSealed(client.certificate([]))],
  [
    "a certificate that is none",
    [decodeError, "badCertificate"],
    (client) => client.sendSealed(client.certificate([Buffer.from("nonsense")])),
  ],
  [
    "a certificate with bytes after the list",
    [decodeError, "protocol"],
    (client) => client.sendSealed(client.certificate(web.chain, { after: u8(0) })),
  ],
  [
    "a certificate for a request that was not made",
    [decodeError, "protocol"],
    (client) => client.sendSealed(client.certificate(web.chain, { context: u8(1) })),
  ],
  [
    "certificates of 40 kB",
    [illegalParameter, "protocol"],
    (client) => {
      const certificate = client.certificate([...web.chain, mesh.issue({ padding: 40_000 }).chain[0]!]);
      for (let at = 0; at < certificate.length; at += 16_000) {
        client.send(client.sealed(handshake, certificate.subarray(at, at + 16_000)));
      }
    },
  ],
  [
    "Finished in place of the certificate",
    [unexpectedMessage, "protocol"],
    (client) => client.sendSealed(client.finished([])),
  ],
  [
    "no CertificateVerify",
    [unexpectedMessage, "protocol"],
    (client) => {
      const certificate = client.certificate(web.chain);
      client.sendSealed(certificate, client.finished([certificate]));
    },
  ],
  [
    "CertificateVerify without a certificate",
    [unexpectedMessage, "protocol"],
    (client) => client.sendSealed(client.certificateVerify(web, [])),
  ],
  [
    "a signature over something else",
    [decryptError, "protocol"],
    (client) => {
      const certificate = client.certificate(web.chain);
      client.sendSealed(certificate, client.certificateVerify(web, [certificate], { spoilt: true }));
    },
  ],
  [
    "a signature by another key",
    [decryptError, "protocol"],
    (client) => {
      const certificate = client.certificate(web.chain);
      client.sendSealed(certificate, client.certificateVerify(mesh.issue(), [certificate]));
    },
  ],
  [
    "a signature by an algorithm that is not the key's",
    [illegalParameter, "protocol"],
    (client) => {
      const certificate = client.certificate(web.chain);
      client.sendSealed(certificate, client.certificateVerify(web, [certificate], { algorithm: 0x0804 }));
    },
  ],
  [
    "a wrong Finished",
    [decryptError, "protocol"],
    (client) => {
      const certificate = client.certificate(web.chain);
      const verify = client.certificateVerify(web, [certificate]);
      client.sendSealed(certificate, verify, client.finished([certificate, verify], { spoilt: true }));
    },
  ],
  [
    "Finished twice in one record",
    [unexpectedMessage, "protocol"],
    (client) => {
      const certificate = client.certificate(web.chain);
      const verify = client.certificateVerify(web, [certificate]);
      const finished = client.finished([certificate, verify]);
      client.sendSealed(certificate, verify, finished, finished);
    },
  ],
  [
    "application data before Finished",
    [unexpectedMessage, "protocol"],
    (client) => client.send(client.sealed(applicationData, Buffer.from("early"))),
  ],
  [
    "KeyUpdate before Finished",
    [unexpectedMessage, "protocol"],
    (client) => client.sendSealed(message(messageType.keyUpdate, u8(0))),
  ],
  [
    "a record of zeros only",
    [unexpectedMessage, "protocol"],
    (client) => client.send(client.sealed(0, Buffer.alloc(20))),
  ],
  [
    "an encrypted ChangeCipherSpec",
    [unexpectedMessage, "protocol"],
    (client) => client.send(client.sealed(changeCipherSpec, u8(1))),
  ],
  [
    "a plaintext that is too long",
    [recordOverflow, "protocol"],
    (client) => client.send(client.sealed(handshake, Buffer.alloc(16_385))),
  ],
  [
    "an empty encrypted handshake record",
    [unexpectedMessage, "protocol"],
    (client) => client.send(client.sealed(handshake, empty)),
  ],
  ["close_notify", [undefined, "truncated"], (client) => client.send(client.sealed(alert, Buffer.from([1, 0])))],
  ["an alert", [undefined, "peerAlert"], (client) => client.send(client.sealed(alert, Buffer.from([2, 42])))],
  ["FIN", [decodeError, "truncated"], (client) => void client.socket.end()],
];

/** After the client's Finished. */
const sessions: readonly Case[] = [
  [
    "KeyUpdate of an unknown kind",
    [illegalParameter, "protocol"],
    (client) => client.send(client.sealed(handshake, message(messageType.keyUpdate, u8(2)))),
  ],
  [
    "KeyUpdate with something behind it",
    [unexpectedMessage, "protocol"],
    (client) =>
      client.send(
        client.sealed(
          handshake,
          Buffer.concat([message(messageType.keyUpdate, u8(0)), message(messageType.keyUpdate, u8(0))]),
        ),
      ),
  ],
  [
    "KeyUpdate of two bytes",
    [illegalParameter, "protocol"],
    (client) => client.send(client.sealed(handshake, message(messageType.keyUpdate, u16(0)))),
  ],
  [
    "a new ClientHello",
    [unexpectedMessage, "protocol"],
    (client) => client.send(client.sealed(handshake, client.hello())),
  ],
  [
    "a session ticket from the client",
    [unexpectedMessage, "protocol"],
    (client) => client.send(client.sealed(handshake, message(messageType.newSessionTicket, Buffer.alloc(20)))),
  ],
  [
    "a certificate nobody asked for",
    [unexpectedMessage, "protocol"],
    (client) => client.send(client.sealed(handshake, client.certificate(web.chain))),
  ],
  [
    "a record that was changed on its way",
    [badRecordMac, "protocol"],
    (client) => {
      const sealed = client.sealed(applicationData, Buffer.from("hello"));
      sealed[8]! ^= 1;
      client.send(sealed);
    },
  ],
  [
    "a record under the handshake's keys again",
    [badRecordMac, "protocol"],
    (client) => client.send(record(applicationData, Buffer.alloc(60))),
  ],
  [
    "a record that is too long",
    [recordOverflow, "protocol"],
    (client) => client.send(record(applicationData, Buffer.alloc(16_384 + 257))),
  ],
];

function pskOf(): Buffer {
  const identities = vector16(vector16(Buffer.from("ticket")), Buffer.alloc(4));
  return Buffer.concat([identities, vector16(vector8(Buffer.alloc(32)))]);
}

/** The whole handshake, with a hello that speaks no ALPN: OpenSSL asks nobody then, so it is found at the end. */
const silent: readonly Case[] = [["no ALPN", [noApplicationProtocol, "application"], () => {}]];

const groups: readonly (readonly [
  title: string,
  prepare: (client: RawClient) => Promise<void>,
  cases: readonly Case[],
])[] = [
  ["what comes first is", async () => {}, first],
  ["a ClientHello with", async () => {}, hellos],
  [
    "after the server's flight comes",
    async (client) => {
      client.sendHello();
      await client.receiveFlight();
    },
    flights,
  ],
  [
    "after the handshake comes",
    async (client) => {
      client.sendHello();
      await client.receiveFlight();
      client.finish(web);
    },
    sessions,
  ],
  [
    "a whole handshake with",
    async (client) => {
      client.sendHello(client.hello({ extensions: { [ext.alpn]: undefined } }));
      await client.receiveFlight();
      client.finish(web);
    },
    silent,
  ],
];

let dialled = 0;
const handlers: TlsRecorder[] = [];
const fixture = new TlsServerFixture(() => {
  const handler = new TlsEcho();
  handlers.push(handler);
  return handler;
});
const awake = stayAwake();
after(() => {
  fixture[Symbol.dispose]();
  awake[Symbol.dispose]();
});

test("the client by hand is right when it wants to be: what follows fails for one reason only", async () => {
  const client = await RawClient.dial(fixture.port);
  const { handler } = await lastAccepted();
  client.sendHello();
  await client.receiveFlight();
  client.finish(web);
  await handler.hears("established");
  client.send(client.sealed(applicationData, Buffer.from("hello"), 100));
  await handler.hears("data");
  client.send(client.sealed(alert, Buffer.from([1, 0])));
  await handler.hears("end");
  assert.equal(await client.alert(), 0);
  client.socket.destroy();
});

for (const [where, prepare, cases] of groups) {
  describe(where, () => {
    for (const [title, [expectedAlert, failure], act] of cases) {
      test(`${title}: ${failure}`, async () => {
        const client = await RawClient.dial(fixture.port);
        const { connection, handler } = await lastAccepted();
        await prepare(client);
        await act(client);
        const seen = await client.alert();
        client.socket.end();
        await handler.hears("closed");
        assert.equal(connection.isClosing, true);
        assert.deepEqual(
          { alert: seen, told: handler.told.find((word) => word.startsWith("failed"))?.split(" ")[1] },
          { alert: expectedAlert, told: failure },
        );
        client.socket.destroy();
      });
    }
  });
}

/** Tests run one after the other: the last one accepted is the one just dialled. */
async function lastAccepted() {
  const connection = await fixture.acceptedConnection(++dialled);
  return { connection, handler: handlers.at(-1)! };
}
