import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import fc from "fast-check";
import { ClientOpening } from "../../../../src/proxy/detect/client-opening.ts";
import { buildHello, clientSamples, type Hello, inRecords, opensslHello, serverNameData } from "./first-bytes.ts";

/** Fed up to each of these ends: the verdict, the name, and how many bytes had been fed when the verdict came. */
function feed(bytes: Buffer, ends: Iterable<number> = [bytes.length]) {
  const opening = new ClientOpening();
  let fed = 0;
  for (const end of ends) {
    opening.feed(bytes, fed, end);
    fed = end;
    if (opening.verdict !== undefined) break;
  }
  return { verdict: opening.verdict, name: opening.serverName, fed };
}

function* every(bytes: number, length: number) {
  for (let end = bytes; end < length; end += bytes) yield end;
  yield length;
}

const bytewise = (bytes: Buffer) => feed(bytes, every(1, bytes.length));

/** Cut anywhere, the verdict is the same and comes with the piece that holds the byte that decides. */
function assertSameAtEverySplit(bytes: Buffer): void {
  const { verdict, name, fed } = bytewise(bytes);
  // The middle of a long target is like its neighbours.
  const isDull = (at: number) => at > 100 && at < bytes.length - 100 && bytes.length > 4096;
  for (let at = 0; at <= bytes.length; at++) {
    if (isDull(at)) continue;
    const split = feed(bytes, [at, bytes.length]);
    const expected = verdict !== undefined && fed <= at ? at : bytes.length;
    assert.deepEqual(split, { verdict, name, fed: expected }, `cut at ${at}`);
  }
}

describe("the client's first bytes", () => {
  for (const { name, bytes, verdict } of clientSamples) {
    test(`${name}: ${verdict ?? "undecided"}, cut at every point`, () => {
      assert.equal(bytewise(bytes).verdict, verdict);
      assertSameAtEverySplit(bytes);
    });
  }

  test("tell HTTP/1 exactly where a request line has its version, whatever the bytes", () => {
    const requestLine = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} [!-~\u0080-\u00ff]{1,65536} HTTP\/1\./;
    const part = fc.oneof(
      fc.constantFrom("GET", "PRI", "*", " ", "/", "HTTP/1.", "HTTP/2.0", "\r\n", "SM", "\0", "\x7f", "\xff", "H"),
      fc.string({ unit: "binary-ascii", maxLength: 3 }),
    );
    const whole = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), (parts) => {
        const text = parts.join("");
        if (text === "" || text.startsWith("\x16")) return;
        const { verdict } = bytewise(Buffer.from(text, "latin1"));
        assert.equal(verdict === "http", requestLine.test(text));
        assert.equal(verdict === "http2", text.startsWith(whole));
      }),
      { numRuns: 2000 },
    );
  });

  test("end undecided with opaque when the client says no more", () => {
    for (const { bytes } of clientSamples.filter((it) => it.verdict === undefined)) {
      const opening = new ClientOpening();
      opening.feed(bytes, 0, bytes.length);
      opening.end();
      assert.equal(opening.verdict, bytes.length === 0 ? undefined : "opaque");
    }
  });

  const possible = [
    ["", ["http", "http2", "tls", "opaque"]],
    ["P", ["http", "http2", "opaque"]],
    ["PO", ["http", "opaque"]],
    ["PRI * HTTP/2", ["http2", "opaque"]],
    ["\x16\x03", ["tls", "opaque"]],
    ["GET / HTTP/1.1", ["http"]],
    ["\0", ["opaque"]],
  ] as const;
  for (const [text, protocols] of possible) {
    test(`${JSON.stringify(text)} could be ${protocols.join(", ")}`, () => {
      const opening = new ClientOpening();
      opening.feed(Buffer.from(text, "latin1"), 0, text.length);
      const all = ["http", "http2", "tls", "opaque"] as const;
      assert.deepEqual(
        all.filter((protocol) => opening.couldBe(protocol)),
        protocols,
      );
    });
  }
});

describe("a ClientHello", () => {
  const openssl: Record<"named" | "nameless", Buffer> = { named: Buffer.alloc(0), nameless: Buffer.alloc(0) };
  before(async () => {
    openssl.named = await opensslHello({ servername: "web.example.org", alpn: ["h2", "http/1.1"] });
    openssl.nameless = await opensslHello({});
  });

  test("of OpenSSL is TLS with the name it asks for, cut at every point", () => {
    assert.equal(feed(openssl.named).verdict, "tls");
    assert.equal(feed(openssl.named).name, "web.example.org");
    assertSameAtEverySplit(openssl.named);
  });

  test("of OpenSSL without a name is TLS when its last byte is there, cut at every point", () => {
    assert.deepEqual(bytewise(openssl.nameless), { verdict: "tls", name: undefined, fed: openssl.nameless.length });
    assertSameAtEverySplit(openssl.nameless);
  });

  test("in records of any size is the same", () => {
    const message = openssl.named.subarray(5);
    for (let bytes = 1; bytes <= message.length; bytes++) {
      const { verdict, name } = feed(inRecords(message, bytes));
      assert.deepEqual({ verdict, name }, { verdict: "tls", name: "web.example.org" }, `records of ${bytes}`);
    }
  });

  const extension = fc.record({ type: fc.integer({ min: 1, max: 65535 }), data: fc.uint8Array({ maxLength: 40 }) });
  const hello = fc.record({
    sessionBytes: fc.integer({ min: 0, max: 32 }),
    suites: fc.integer({ min: 1, max: 40 }),
    compressions: fc.integer({ min: 1, max: 3 }),
    extensions: fc.option(fc.array(extension, { maxLength: 6 }), { nil: undefined }),
  });
  const label = fc.string({
    unit: fc.constantFrom(..."abcXYZ019-_"),
    minLength: 1,
    maxLength: 12,
  });
  const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join("."));
  const toHello = (
    it: {
      extensions: { type: number; data: Uint8Array }[] | undefined;
    } & Omit<Hello, "extensions">,
  ): Hello => ({
    ...it,
    extensions: it.extensions?.map(({ type, data }) => ({ type, data: Buffer.from(data) })),
  });

  test("of any shape, in any records and pieces, is TLS with its name", () => {
    fc.assert(
      fc.property(
        hello,
        fc.option(name, { nil: undefined }),
        fc.nat(6),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 50 }),
        (shape, host, position, recordBytes, pieceBytes) => {
          const built = toHello(shape);
          const extensions = [...(built.extensions ?? [])];
          if (host !== undefined) extensions.splice(position, 0, { type: 0, data: serverNameData(host) });
          const message = buildHello({ ...built, extensions: host === undefined ? built.extensions : extensions });
          const bytes = inRecords(message, recordBytes);
          const seen = feed(bytes, every(pieceBytes, bytes.length));
          assert.deepEqual([seen.verdict, seen.name], ["tls", host]);
        },
      ),
    );
  });

  test("with any one byte changed is TLS or opaque or not yet, and the same however it is cut", () => {
    fc.assert(
      fc.property(fc.nat(openssl.named.length - 1), fc.nat(255), (at, byte) => {
        const bytes = Buffer.from(openssl.named);
        bytes[at] = byte;
        const whole = feed(bytes);
        const cut = bytewise(bytes);
        assert.deepEqual([whole.verdict, whole.name], [cut.verdict, cut.name]);
        assert.ok(bytes[0] !== 22 || whole.verdict !== "http");
      }),
      { numRuns: 1000 },
    );
  });

  const least: Hello = { sessionBytes: 0, suites: 1, compressions: 1, extensions: [] };
  const one = (data: Buffer) => buildHello({ ...least, extensions: [{ type: 0, data }] });
  const changed = (at: number, byte: number) => {
    const message = Buffer.from(buildHello(least));
    message[at] = byte;
    return message;
  };
  const named = Buffer.from(one(serverNameData("web")));
  const wrong: [string, Buffer, "tls" | "opaque"][] = [
    ["whose name is no host's is TLS without a name", one(serverNameData("a b")), "tls"],
    ["whose name would break a log line is TLS without a name", one(serverNameData('"\n')), "tls"],
    ["whose name has 254 bytes is TLS without a name", one(serverNameData("x".repeat(254))), "tls"],
    ["whose name is of another type is TLS without a name", one(serverNameData("web", 1)), "tls"],
    ["whose name is empty is TLS without a name", one(serverNameData("")), "tls"],
    ["whose server_name extension is empty is TLS without a name", one(Buffer.alloc(0)), "tls"],
    [
      "whose list of names is longer than its extension is opaque",
      one(Buffer.from([0, 9, 0, 0, 3, 119, 101, 98])),
      "opaque",
    ],
    ["whose name is longer than its list is opaque", one(Buffer.from([0, 6, 0, 0, 4, 119, 101, 98])), "opaque"],
    ["of another message type is opaque", changed(0, 2), "opaque"],
    ["of version 2 is opaque", changed(4, 2), "opaque"],
    ["with a session of 33 bytes is opaque", buildHello({ ...least, sessionBytes: 33 }), "opaque"],
    ["without cipher suites is opaque", buildHello({ ...least, suites: 0 }), "opaque"],
    ["with an odd length of suites is opaque", changed(40, 3), "opaque"],
    ["without compressions is opaque", buildHello({ ...least, compressions: 0 }), "opaque"],
    ["whose extensions do not end with it is opaque", changed(46, 1), "opaque"],
    [
      "whose last extension reaches beyond it is opaque",
      Buffer.concat([named.subarray(0, 47), Buffer.from([0, 1, 0, 99]), named.subarray(51)]),
      "opaque",
    ],
    [
      "whose server_name extension reaches beyond it is opaque",
      Buffer.concat([named.subarray(0, 47), Buffer.from([0, 0, 0, 99, 0, 97]), named.subarray(53)]),
      "opaque",
    ],
    [
      "that is shorter than its session is opaque, though more may come",
      Buffer.concat([Buffer.from([1, 0, 0, 40, 3, 3]), Buffer.alloc(32), Buffer.from([32])]),
      "opaque",
    ],
  ];
  for (const [title, message, verdict] of wrong) {
    test(title, () => {
      const seen = feed(inRecords(message, 1000));
      assert.deepEqual([seen.verdict, seen.name], [verdict, undefined]);
    });
  }

  test("of the least shape, and without extensions at all, is TLS", () => {
    assert.equal(feed(inRecords(buildHello(least), 1000)).verdict, "tls");
    assert.equal(feed(inRecords(buildHello({ ...least, extensions: undefined }), 1000)).verdict, "tls");
  });

  test("interrupted by a record of another type is opaque", () => {
    const message = buildHello(least);
    const alert = Buffer.from([21, 3, 1, 0, 2, 2, 40]);
    assert.equal(feed(Buffer.concat([inRecords(message.subarray(0, 20), 1000), alert])).verdict, "opaque");
  });
});
