// First bytes of real protocols, and ClientHellos: those that OpenSSL sends and those that a test builds.

import { Duplex } from "node:stream";
import { connect } from "node:tls";
import type { SeenProtocol } from "../../../../src/proxy/detect/client-opening.ts";

export interface Sample {
  readonly name: string;
  readonly bytes: Buffer;
  /** undefined: not enough to tell. */
  readonly verdict: SeenProtocol | undefined;
}

const text = (name: string, verdict: Sample["verdict"], ...parts: string[]): Sample => ({
  name,
  verdict,
  bytes: Buffer.from(parts.join(""), "latin1"),
});
const hex = (name: string, verdict: Sample["verdict"], digits: string): Sample => ({
  name,
  verdict,
  bytes: Buffer.from(digits.replaceAll(" ", ""), "hex"),
});

export const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

export const clientSamples: readonly Sample[] = [
  text("a GET of curl", "http", "GET / HTTP/1.1\r\nHost: web\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"),
  text("HTTP/1.0 of ab", "http", "GET / HTTP/1.0\r\n\r\n"),
  text("a form posted", "http", "POST /a?b=c&d HTTP/1.1\r\nContent-Length: 3\r\n\r\na=b"),
  text("CONNECT", "http", "CONNECT web:443 HTTP/1.1\r\nHost: web:443\r\n\r\n"),
  text("OPTIONS *", "http", "OPTIONS * HTTP/1.1\r\n"),
  text("an absolute target", "http", "GET http://web/ HTTP/1.1\r\n"),
  text("SSDP over TCP", "http", "M-SEARCH * HTTP/1.1\r\n"),
  text("a lower-case method", "http", "get / HTTP/1.1\r\n"),
  text("a method that begins like the preface", "http", "PRI /x HTTP/1.1\r\n"),
  text("the preface's method alone", "http", "PRI * HTTP/1.1\r\n"),
  text("a target of 16 kB", "http", `GET /${"x".repeat(16_000)} HTTP/1.1\r\n`),
  text("a target in UTF-8", "http", `GET /\xc3\xa4 HTTP/1.1\r\n`),
  text("HTTP/2", "http2", preface, "\0\0\0\x04\0\0\0\0\0"),
  text("HTTP/2 whose preface ends wrong", "opaque", preface.slice(0, -1), "X"),
  text("HTTP/2 asked of HTTP/1", "opaque", "GET / HTTP/2.0\r\n"),
  text("HTTP/0.9", "opaque", "GET /\r\n"),
  text("no target", "opaque", "GET  HTTP/1.1\r\n"),
  text("a space first", "opaque", " GET / HTTP/1.1\r\n"),
  text("an empty line first", "opaque", "\r\nGET / HTTP/1.1\r\n"),
  text("a NUL in the method", "opaque", "GE\0T / HTTP/1.1\r\n"),
  text("a tab between", "opaque", "GET\t/ HTTP/1.1\r\n"),
  text("a method of 33 bytes", "opaque", `${"M".repeat(33)} / HTTP/1.1\r\n`),
  text("a target of more than 64 KiB", "opaque", `GET /${"x".repeat(64 * 1024)} HTTP/1.1\r\n`),
  text("SSH", "opaque", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n"),
  text("SMTP", "opaque", "EHLO client.example\r\n"),
  text("FTP, POP3, IRC", "opaque", "USER anonymous\r\n"),
  text("redis (RESP)", "opaque", "*1\r\n$4\r\nPING\r\n"),
  text("redis, by hand", "opaque", "PING\r\n"),
  text("memcached", "opaque", "get key\r\n"),
  text("SIP", "opaque", "INVITE sip:bob@example.com SIP/2.0\r\n"),
  text("RTSP", "opaque", "OPTIONS rtsp://example.com/a RTSP/1.0\r\n"),
  text("PROXY protocol", "opaque", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"),
  text("git", "opaque", "0032git-upload-pack /project.git\0host=web\0"),
  text("AMQP", "opaque", "AMQP\0\0\t\x01"),
  hex("PostgreSQL asking for TLS", "opaque", "00 00 00 08 04 d2 16 2f"),
  hex("PostgreSQL", "opaque", "00 00 00 13 00 03 00 00 75 73 65 72 00 70 67 00 00 00 00"),
  hex("MQTT", "opaque", "10 10 00 04 4d 51 54 54 04 02 00 3c 00 04 74 65 73 74"),
  hex("LDAP", "opaque", "30 0c 02 01 01 60 07 02 01 03 04 00 80 00"),
  hex("MongoDB", "opaque", "3a 00 00 00 01 00 00 00 00 00 00 00 d4 07 00 00"),
  hex("SQL Server", "opaque", "12 01 00 2f 00 00 01 00"),
  hex("SSL 2", "opaque", "80 2e 01 00 02 00 15 00 00 00 10"),
  hex("a TLS alert", "opaque", "15 03 01 00 02 02 28"),
  hex("TLS application data", "opaque", "17 03 03 00 05 01 02 03 04 05"),
  hex("a ServerHello", "opaque", "16 03 03 00 31 02 00 00 2d 03 03"),
  hex("a record of TLS 4", "opaque", "16 04 00 00 31 01 00 00 2d 03 03"),
  hex("an empty record", "opaque", "16 03 01 00 00 01"),
  hex("a record that is too long", "opaque", "16 03 01 40 01 01"),
  text("half a method", undefined, "GE"),
  text("half a target", undefined, "GET /inde"),
  text("half a version", undefined, "GET / HTTP/1"),
  text("half a preface", undefined, preface.slice(0, 17)),
  hex("half a record's header", undefined, "16 03 01 02"),
  hex("half a ClientHello", undefined, "16 03 01 02 00 01 00 01 fc 03 03 00 01 02"),
  text("nothing", undefined, ""),
];

/** What OpenSSL sends first. */
export function opensslHello(options: { servername?: string; alpn?: string[] }): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, callback) {
        resolve(Buffer.from(chunk));
        callback();
        socket.destroy();
      },
    });
    connect({
      socket,
      rejectUnauthorized: false,
      ...(options.servername !== undefined && { servername: options.servername }),
      ...(options.alpn !== undefined && { ALPNProtocols: options.alpn }),
    }).on("error", () => {}); // Nobody answers.
  });
}

export interface Hello {
  readonly sessionBytes: number;
  readonly suites: number;
  readonly compressions: number;
  /** undefined: the message ends before them. server_name stands where its type is 0. */
  readonly extensions: readonly { readonly type: number; readonly data: Buffer }[] | undefined;
}

/** A ClientHello message, in no record yet. */
export function buildHello(hello: Hello): Buffer {
  const body = [
    Buffer.from([3, 3]),
    Buffer.alloc(32, 0xaa),
    prefixed(1, Buffer.alloc(hello.sessionBytes)),
    prefixed(2, Buffer.alloc(hello.suites * 2)),
    prefixed(1, Buffer.alloc(hello.compressions)),
  ];
  if (hello.extensions !== undefined) {
    const each = hello.extensions.map(({ type, data }) => Buffer.concat([number(2, type), prefixed(2, data)]));
    body.push(prefixed(2, Buffer.concat(each)));
  }
  return Buffer.concat([Buffer.from([1]), prefixed(3, Buffer.concat(body))]);
}

/** The data of a server_name extension. */
export function serverNameData(name: string, type = 0): Buffer {
  return prefixed(2, Buffer.concat([Buffer.from([type]), prefixed(2, Buffer.from(name, "latin1"))]));
}

/** The message in records of at most that many bytes. */
export function inRecords(message: Buffer, bytes: number): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += bytes) {
    records.push(Buffer.from([22, 3, 1]), prefixed(2, message.subarray(at, at + bytes)));
  }
  return Buffer.concat(records);
}

function prefixed(width: number, data: Buffer): Buffer {
  return Buffer.concat([number(width, data.length), data]);
}

function number(width: number, value: number): Buffer {
  const bytes = Buffer.alloc(width);
  bytes.writeUIntBE(value, 0, width);
  return bytes;
}
