// The load generator tells the truth: what it is there to reveal, it reveals.

import assert from "node:assert/strict";
import { type ChildProcess, execFile } from "node:child_process";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { type LoadReport, loadProgram } from "../../../bench/macro/load.ts";

function start(words: readonly string[], program: string): { process: ChildProcess; report: Promise<LoadReport> } {
  const running = promisify(execFile)(program, words);
  return { process: running.child, report: running.then(({ stdout }) => JSON.parse(stdout) as LoadReport) };
}

async function load(...words: string[]): Promise<LoadReport> {
  return start(words, await loadProgram()).report;
}

/** `allClosed` resolves when every connection has ended. */
async function serve(t: TestContext, onConnection: (socket: Socket) => void) {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const allClosed = () => new Promise((resolve) => server.close(resolve));
  return { target: `127.0.0.1:${(server.address() as AddressInfo).port}`, allClosed };
}

function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

for (const [who, stopsGenerator] of [
  ["server", false],
  ["whole machine", true],
] as const) {
  test(`a stall of the ${who} shows in the percentiles of a fixed rate (no coordinated omission)`, async (t) => {
    let bytes = 0;
    let stalls = 1;
    const { target } = await serve(t, (socket) => {
      socket.on("data", (data) => {
        bytes += data.length;
        if (bytes > 10_000 && stalls-- > 0) {
          if (stopsGenerator) generator.process.kill("SIGSTOP");
          standStill(400);
          if (stopsGenerator) generator.process.kill("SIGCONT");
        }
        socket.write(data);
      });
    });
    const options = ["--rate", "500", "--connections", "4", "--warmup-ms", "0", "--duration-ms", "1000"];
    const generator = start(["rate", ...options, target], await loadProgram());
    const { count, p99Ns, errors } = await generator.report;
    // Of 500 messages 200 were due while it stood still; who waits for answers before he sends would have sent 4 of them.
    assert.ok(p99Ns > 300e6, `p99 is ${p99Ns / 1e6} ms`);
    assert.ok(count >= 250 && count <= 500, `${count} messages`);
    assert.deepEqual(errors, {});
  });
}

test("a connection of a closed loop that gets no answer is an error, although the others are answered", async (t) => {
  let accepted = 0;
  const { target } = await serve(t, (socket) => {
    if (++accepted === 2) socket.resume();
    else socket.pipe(socket);
  });
  const { errors } = await load(
    ...["closed", "--connections", "3", "--warmup-ms", "0", "--duration-ms", "1200", target],
  );
  assert.deepEqual(errors, { ETIMEDOUT: 1 });
});

test("failed connections are counted by the name of their error, and the series shows the silence", async () => {
  const unused = createServer();
  await new Promise<void>((resolve) => unused.listen(0, "127.0.0.1", resolve));
  const target = `127.0.0.1:${(unused.address() as AddressInfo).port}`;
  await new Promise((resolve) => unused.close(resolve));
  const { count, errors, series } = await load(
    ...["connect", "--connections", "2", "--warmup-ms", "0", "--duration-ms", "100", "--bucket-ms", "20", target],
  );
  assert.equal(count, 0);
  assert.deepEqual(Object.keys(errors), ["ECONNREFUSED"]);
  assert.deepEqual(series, [0, 0, 0, 0, 0]);
});

test("short connections are closed by the client, each after a whole message there and back", async (t) => {
  let bytes = 0;
  let endedByClient = 0;
  const { target, allClosed } = await serve(t, (socket) => {
    socket.on("end", () => ++endedByClient);
    socket.on("data", (data: Buffer) => {
      bytes += data.length;
      // In two pieces: the first is not yet the answer.
      socket.write(data.subarray(0, 40));
      setImmediate(() => socket.write(data.subarray(40)));
    });
  });
  const { count, series, errors } = await load(
    ...["connect", "--connections", "2", "--warmup-ms", "0", "--duration-ms", "200", "--bucket-ms", "100", target],
  );
  await allClosed();
  const counted = series.reduce((sum, n) => sum + n, 0);
  assert.ok(count > 0 && count <= endedByClient, `${count} counted, ${endedByClient} ended by the client`);
  assert.equal(count, counted);
  assert.ok(bytes >= count * 100);
  assert.deepEqual(errors, {});
});
