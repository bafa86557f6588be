// What detection costs a worker: all that it does for one connection from its first byte to its last, by what the
// connection speaks; and a chunk of a stream whose protocol is known. Run: node bench/micro/detect.ts
// CPU time, and the median of rounds in which subjects take turns: the machine may be shared.

import { Detection, type Observation, type ObservedStream } from "../../src/proxy/detection.ts";
import { buildHello, inRecords, serverNameData } from "../../test/unit/proxy/detect/first-bytes.ts";

const rounds = 15;
const connections = 20_000;

const bytes = (text: string) => Buffer.from(text, "latin1");
const request = bytes("GET /a/path/of/some/length?with=a&query=too HTTP/1.1\r\nHost: web\r\nUser-Agent: x\r\n\r\n");
const answer = bytes("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
const preface = bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const settings = bytes("\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64");
const hello = inRecords(
  buildHello({
    sessionBytes: 32,
    suites: 17,
    compressions: 1,
    extensions: [
      { type: 51, data: Buffer.alloc(1220) },
      { type: 0, data: serverNameData("web.default.svc.cluster.local") },
    ],
  }),
  16_384,
);
const split = (whole: Buffer, size: number) =>
  Array.from({ length: Math.ceil(whole.length / size) }, (_, i) => whole.subarray(i * size, (i + 1) * size));

type Said = readonly (readonly [flow: "sent" | "received", piece: Buffer])[];
const client = (...pieces: Buffer[]): Said => pieces.map((piece) => ["sent", piece] as const);
const server = (...pieces: Buffer[]): Said => pieces.map((piece) => ["received", piece] as const);

const subjects: Record<string, Said> = {
  "HTTP/1 in one segment": [...client(request), ...server(answer)],
  "HTTP/1, a byte a segment": [...client(...split(request, 1)), ...server(answer)],
  "HTTP/2, SETTINGS of the server first": [...server(settings), ...client(preface)],
  "TLS with a name, 1.4 kB": [...client(hello), ...server(bytes("\x16\x03\x03\0\x7a\x02"))],
  "opaque, the server first": server(bytes("220 mail.example ESMTP\r\n")),
  "opaque, the client first": [...client(bytes("\0\0\0\x08\x04\xd2\x16\x2f")), ...server(bytes("N"))],
  "nothing said before it is closed": [],
};

const destination = { w0: 0, w1: 0, w2: 0xffff, w3: 0x0a600001, port: 80 };
const detection = new Detection({ timers: { setTimer: () => 0 }, timeoutMs: 10_000, now: () => performance.now() });

class Stream implements ObservedStream {
  observation: Observation | undefined;
  told = 0;
  onProtocol(): void {
    this.told++;
  }
}

const runs = Object.entries(subjects).map(([name, said]) => ({ name, said, samples: [] as number[] }));
for (let round = 0; round < rounds; round++) {
  for (const { said, samples } of runs) {
    const streams = Array.from({ length: connections }, () => new Stream());
    const start = cpuNs();
    for (const stream of streams) {
      detection.observe(stream, destination);
      for (const [flow, piece] of said) stream.observation?.onData(flow, piece, 0, piece.length);
      stream.observation?.onClosed();
    }
    samples.push((cpuNs() - start) / connections);
    if (streams.some((stream) => stream.told !== 1)) throw new Error("a stream was not told once");
  }
}
for (const { name, samples } of runs) print(name, median(samples), "ns per connection");

const known = new Stream();
const chunks = 5_000_000;
const perChunk = Array.from({ length: rounds }, () => {
  const start = cpuNs();
  for (let i = 0; i < chunks; i++) known.observation?.onData("sent", request, 0, request.length);
  return (cpuNs() - start) / chunks;
});
print("afterwards", median(perChunk), "ns per chunk");

/** Of this thread, in steps of a microsecond. */
function cpuNs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) * 1000;
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1]!;
}

function print(what: string, amount: number, unit: string): void {
  console.log(`${what.padEnd(48)}${amount.toFixed(1).padStart(8)} ${unit}`);
}
