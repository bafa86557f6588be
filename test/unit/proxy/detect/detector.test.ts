import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Detector } from "../../../../src/proxy/detect/detector.ts";
import { clientSamples, preface } from "./first-bytes.ts";

type Step = readonly [side: "client" | "server", text: string] | readonly [side: "fin"];

const settings = "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
const request = "GET / HTTP/1.1\r\n\r\n";

function run(steps: readonly Step[]): Detector {
  const detector = new Detector();
  for (const [side, text = ""] of steps) {
    const bytes = Buffer.from(text, "latin1");
    if (side === "client") detector.onClient(bytes, 0, bytes.length);
    else if (side === "server") detector.onServer(bytes, 0, bytes.length);
    else detector.onClientEnd();
  }
  return detector;
}

interface Case {
  readonly title: string;
  readonly steps: readonly Step[];
  readonly protocol: string | undefined;
  readonly by?: string;
  readonly lesson?: string | undefined;
}

const cases: readonly Case[] = [
  { title: "nothing said", steps: [], protocol: undefined },
  { title: "a request is HTTP before it is answered", steps: [["client", request]], protocol: "http" },
  {
    title: "a request that is answered teaches HTTP",
    steps: [
      ["client", request],
      ["server", "HTTP/1.1 200 OK\r\n"],
    ],
    protocol: "http",
    lesson: "http",
  },
  {
    title: "a request in two pieces, answered in two, teaches HTTP",
    steps: [
      ["client", "GET / HT"],
      ["client", "TP/1.1\r\n"],
      ["server", "HTT"],
      ["server", "P/1.1 200 OK"],
    ],
    protocol: "http",
    lesson: "http",
  },
  {
    title: "a server that speaks first is opaque at its first byte",
    steps: [["server", "S"]],
    protocol: "opaque",
    by: "server_first",
    lesson: "opaque",
  },
  {
    title: "a server that speaks first is opaque although its client then sends a request",
    steps: [
      ["server", "220 mail"],
      ["client", request],
    ],
    protocol: "opaque",
    by: "server_first",
    lesson: "opaque",
  },
  { title: "SETTINGS of the server alone say nothing yet", steps: [["server", settings]], protocol: undefined },
  {
    title: "SETTINGS of the server, one byte at a time, say nothing yet",
    steps: [...settings].map((byte): Step => ["server", byte]),
    protocol: undefined,
  },
  {
    title: "SETTINGS of the server and then the client's preface are HTTP/2",
    steps: [
      ["server", settings],
      ["server", "\0\0\x04\x08\0\0\0\0\0\0\0\xff\xff"],
      ["client", preface.slice(0, 10)],
      ["client", preface.slice(10)],
    ],
    protocol: "http2",
    lesson: "http2",
  },
  {
    title: "the client's preface and then SETTINGS of the server are HTTP/2",
    steps: [
      ["client", preface],
      ["server", settings],
    ],
    protocol: "http2",
    lesson: "http2",
  },
  {
    title: "SETTINGS of the server in the middle of the client's preface are HTTP/2",
    steps: [
      ["client", preface.slice(0, 5)],
      ["server", settings],
      ["client", preface.slice(5)],
    ],
    protocol: "http2",
    lesson: "http2",
  },
  {
    title: "SETTINGS of the server and then HTTP/1 of the client are HTTP/1, and teach nothing",
    steps: [
      ["server", settings],
      ["client", request],
    ],
    protocol: "http",
  },
  {
    title: "408 to a silent client says nothing and teaches nothing",
    steps: [["server", "HTTP/1.1 408 Request Timeout\r\n\r\n"]],
    protocol: undefined,
  },
  {
    title: "408 that crosses the client's request teaches nothing",
    steps: [
      ["server", "HTTP/1.1 408 Request Timeout\r\n\r\n"],
      ["client", request],
    ],
    protocol: "http",
  },
  {
    title: "408 in the middle of a request line says nothing yet",
    steps: [
      ["client", "GET /"],
      ["server", "HTTP/1.1 408 Request Timeout\r\n\r\n"],
    ],
    protocol: undefined,
  },
  {
    title: "400 to junk is opaque and teaches nothing",
    steps: [
      ["client", "\0junk"],
      ["server", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ],
    protocol: "opaque",
  },
  {
    title: "TLS to a plaintext HTTP server teaches nothing",
    steps: [
      ["client", "\x16\x03\x01\0\0"],
      ["server", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ],
    protocol: "opaque",
  },
  {
    title: "a request to a TLS server teaches nothing",
    steps: [
      ["client", request],
      ["server", "\x15\x03\x01\0\x02\x02\x46"],
    ],
    protocol: "http",
  },
  {
    title: "junk answered by something opaque teaches nothing",
    steps: [
      ["client", "\0junk"],
      ["server", "what?"],
    ],
    protocol: "opaque",
  },
  {
    title: "a request answered by something opaque teaches nothing",
    steps: [
      ["client", request],
      ["server", "<html>"],
    ],
    protocol: "http",
  },
  {
    title:
      "a server that answers half a request line with something opaque is opaque, and contradicts what was learned",
    steps: [
      ["client", "PING"],
      ["server", "PONG"],
    ],
    protocol: "opaque",
    by: "server_first",
    lesson: "contrary",
  },
  { title: "half a request line and FIN are opaque", steps: [["client", "QUIT"], ["fin"]], protocol: "opaque" },
  { title: "FIN of a client that said nothing says nothing", steps: [["fin"]], protocol: undefined },
  {
    title: "a server that speaks after the FIN of a silent client is opaque",
    steps: [["fin"], ["server", "Wed Nov 25"]],
    protocol: "opaque",
    by: "server_first",
    lesson: "opaque",
  },
  {
    title: "a server whose first record is TLS's, to a silent client, is opaque",
    steps: [["server", "\x16\x03\x03"]],
    protocol: "opaque",
    by: "server_first",
    lesson: "opaque",
  },
];

describe("a connection", () => {
  for (const { title, steps, protocol, by, lesson } of cases) {
    test(title, () => {
      const detector = run(steps);
      assert.equal(detector.protocol, protocol);
      assert.equal(detector.lesson, lesson);
      if (by !== undefined) assert.equal(detector.by, by);
    });
  }

  const bytes = fc.oneof(
    fc.constantFrom(...clientSamples.map((sample) => sample.bytes)),
    fc.uint8Array({ maxLength: 30 }).map((it) => Buffer.from(it)),
  );
  const serverBytes = fc.oneof(
    fc
      .constantFrom(settings, "HTTP/1.1 200 OK\r\n", "220 mail\r\n", "\x16\x03\x03\0", "\0", "H", "")
      .map((it) => Buffer.from(it, "latin1")),
    fc.uint8Array({ maxLength: 12 }).map((it) => Buffer.from(it)),
  );
  const pieces = (it: Buffer, size: number) =>
    Array.from({ length: Math.ceil(it.length / size) }, (_, i) => it.subarray(i * size, (i + 1) * size));

  test("teaches nothing before its server has spoken, whatever its client sends", () => {
    fc.assert(
      fc.property(fc.array(bytes), (all) => {
        const detector = new Detector();
        for (const it of all) detector.onClient(it, 0, it.length);
        detector.onClientEnd();
        assert.equal(detector.lesson, undefined);
        assert.equal(detector.isDone, false);
      }),
    );
  });

  test("never teaches a protocol that its server does not speak, nor changes its mind, whatever both send", () => {
    const step = fc.oneof(
      bytes.map((it) => ({ side: "client" as const, it })),
      serverBytes.map((it) => ({ side: "server" as const, it })),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 6 }), (steps) => {
        const detector = new Detector();
        let decided: string | undefined;
        for (const { side, it } of steps) {
          if (side === "client") detector.onClient(it, 0, it.length);
          else detector.onServer(it, 0, it.length);
          const now = detector.protocol === undefined ? undefined : `${detector.protocol} ${detector.by}`;
          if (decided !== undefined) assert.equal(now, decided);
          decided = now;
        }
        const server = Buffer.concat(steps.flatMap(({ side, it }) => (side === "server" ? [it] : [])));
        const text = server.toString("latin1");
        if (detector.lesson === "http") assert.ok(text.startsWith("HTTP/1."));
        if (detector.lesson === "http2") assert.equal(server[3], 4);
        if (detector.lesson === "tls") assert.ok(server[0] === 22 || server[0] === 21);
        const first = steps.find(({ it }) => it.length > 0)?.side;
        if (detector.lesson === "opaque") assert.equal(first, "server");
        if (text.startsWith("HTTP/1.")) assert.ok(detector.lesson === undefined || detector.lesson === "http");
      }),
      { numRuns: 2000 },
    );
  });

  test("is the same however each side's bytes are cut", () => {
    fc.assert(
      fc.property(
        bytes,
        serverBytes,
        fc.boolean(),
        fc.integer({ min: 1, max: 7 }),
        (client, server, isServerFirst, size) => {
          const play = (cut: (it: Buffer) => Buffer[]) => {
            const detector = new Detector();
            const sides = [
              cut(client).map((it) => () => detector.onClient(it, 0, it.length)),
              cut(server).map((it) => () => detector.onServer(it, 0, it.length)),
            ];
            for (const step of (isServerFirst ? sides.toReversed() : sides).flat()) step();
            return [detector.protocol, detector.by, detector.lesson, detector.isDone, detector.serverName];
          };
          assert.deepEqual(
            play((it) => pieces(it, size)),
            play((it) => [it]),
          );
        },
      ),
      { numRuns: 2000 },
    );
  });
});
