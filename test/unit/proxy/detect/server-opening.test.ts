import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ServerOpening, type ServerVerdict } from "../../../../src/proxy/detect/server-opening.ts";

/** The verdict, and how many bytes it took. */
function feed(pieces: readonly Uint8Array[]) {
  const opening = new ServerOpening();
  let fed = 0;
  for (const piece of pieces) {
    opening.feed(piece, 0, piece.length);
    fed += piece.length;
    if (opening.verdict !== undefined) break;
  }
  return { verdict: opening.verdict, fed };
}

const frame = (length: number, type = 4, flags = 0, stream = 0) => {
  const header = Buffer.alloc(9);
  header.writeUIntBE(length, 0, 3);
  header.set([type, flags], 3);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, Buffer.alloc(6)]);
};
const text = (it: string) => Buffer.from(it, "latin1");

/** name, bytes, verdict, bytes that it takes */
const cases: readonly (readonly [string, Buffer, ServerVerdict | undefined, number])[] = [
  ["an SSH server", text("SSH-2.0-OpenSSH_9.2p1\r\n"), "opaque", 1],
  ["an SMTP server", text("220 mail.example ESMTP\r\n"), "opaque", 1],
  ["MySQL's greeting", Buffer.from("4a0000000a352e352e35", "hex"), "opaque", 1],
  ["a prompt of one byte", text(">"), "opaque", 1],
  ["an IMAP server", text("* OK ready\r\n"), "opaque", 1],
  ["VNC", text("RFB 003.008\n"), "opaque", 1],
  ["a word with H", text("HELLO\r\n"), "opaque", 2],
  ["HTTP/1.1 408", text("HTTP/1.1 408 Request Timeout\r\n"), "http", 7],
  ["HTTP/1.0", text("HTTP/1.0 400 Bad Request\r\n"), "http", 7],
  ["HTTP/2 as text", text("HTTP/2.0 200\r\n"), "opaque", 6],
  ["SETTINGS of node:http2", Buffer.from("00000c040000000000000200000000000400010000", "hex"), "http2", 9],
  ["SETTINGS of nothing", frame(0), "http2", 9],
  ["SETTINGS with the reserved bit", frame(6, 4, 0, 0x80000000), "http2", 9],
  ["the longest SETTINGS", frame(16_380), "http2", 9],
  ["SETTINGS of 5 bytes", frame(5), "opaque", 3],
  ["SETTINGS longer than a frame may be", frame(16_386), "opaque", 3],
  ["SETTINGS of 65,538 bytes", frame(65_538), "opaque", 1],
  ["SETTINGS on stream 1", frame(6, 4, 0, 1), "opaque", 9],
  ["SETTINGS on stream 2^24", frame(6, 4, 0, 1 << 24), "opaque", 6],
  ["GOAWAY", frame(12, 7), "opaque", 4],
  ["a ServerHello", Buffer.from("160303007a02", "hex"), "tls", 2],
  ["a TLS alert", Buffer.from("15030300020228", "hex"), "tls", 2],
  ["something like a TLS record", Buffer.from("1605", "hex"), "opaque", 2],
  ["half an answer", text("HTT"), undefined, 3],
  ["half a SETTINGS frame", frame(6).subarray(0, 8), undefined, 8],
];

describe("the server's first bytes", () => {
  for (const [name, bytes, verdict, needed] of cases) {
    test(`${name}: ${verdict ?? "undecided"} after ${needed} bytes, cut at every point`, () => {
      assert.deepEqual(feed(Array.from(bytes, (byte) => Uint8Array.of(byte))), { verdict, fed: needed });
      for (let at = 0; at <= bytes.length; at++) {
        const expected = verdict !== undefined && needed <= at ? at : bytes.length;
        assert.deepEqual(feed([bytes.subarray(0, at), bytes.subarray(at)]), { verdict, fed: expected }, `cut at ${at}`);
      }
    });
  }
});
