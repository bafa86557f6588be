// The load generator tells the truth: what it is there to reveal, it reveals.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { type AddressInfo, createServer, type Server } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import { type LoadReport, loadProgram } from "../../../bench/macro/load.ts";

async function load(...words: string[]): Promise<LoadReport> {
  const { stdout } = await promisify(execFile)(await loadProgram(), words);
  return JSON.parse(stdout) as LoadReport;
}

/** Echoes what it reads; `onMessage` is called with how much it has read by then. */
async function echoServer(onBytes: (total: number) => void = () => {}): Promise<Server> {
  let total = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      total += data.length;
      onBytes(total);
      socket.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

function targetOf(server: Server): string {
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test("a stall of the server shows in the percentiles of a fixed rate (no coordinated omission)", async () => {
  let stalls = 1;
  const server = await echoServer((total) => {
    if (total > 10_000 && stalls-- > 0) standStill(400);
  });
  const { count, p99Ns, errors } = await load(
    ...["rate", "--rate", "500", "--connections", "4", "--warmup-ms", "0", "--duration-ms", "1000", targetOf(server)],
  );
  server.close();
  // Of 500 messages 200 were due while it stood still; a closed loop would have sent 4 of them.
  assert.ok(p99Ns > 300e6, `p99 is ${p99Ns / 1e6} ms`);
  assert.ok(count >= 250 && count <= 500, `${count} messages`);
  assert.deepEqual(errors, {});
});

test("a connection of a closed loop that gets no answer is an error, although the others are answered", async () => {
  let accepted = 0;
  const server = createServer((socket) => {
    socket.on("error", () => {});
    if (++accepted === 2) socket.resume();
    else socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { errors } = await load(
    ...["closed", "--connections", "3", "--warmup-ms", "0", "--duration-ms", "1200", targetOf(server)],
  );
  server.close();
  assert.deepEqual(errors, { ETIMEDOUT: 1 });
});

test("failed connections are counted by the name of their error, and the series shows the silence", async () => {
  const server = await echoServer();
  const target = targetOf(server);
  await new Promise((resolve) => server.close(resolve));
  const { count, errors, series } = await load(
    ...["connect", "--connections", "2", "--warmup-ms", "0", "--duration-ms", "100", "--bucket-ms", "20", target],
  );
  assert.equal(count, 0);
  assert.deepEqual(Object.keys(errors), ["ECONNREFUSED"]);
  assert.deepEqual(series, [0, 0, 0, 0, 0]);
});

test("short connections are closed by the client, each after a whole message there and back", async () => {
  let bytes = 0;
  let connections = 0;
  let endedByClient = 0;
  const server = createServer((socket) => {
    ++connections;
    socket.on("error", () => {});
    socket.on("end", () => ++endedByClient);
    socket.on("data", (data) => {
      bytes += data.length;
      socket.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { count, series, errors } = await load(
    ...[
      "connect",
      "--connections",
      "2",
      "--warmup-ms",
      "0",
      "--duration-ms",
      "200",
      "--bucket-ms",
      "100",
      targetOf(server),
    ],
  );
  await new Promise((resolve) => server.close(resolve));
  assert.ok(
    count > 0 && count <= endedByClient,
    `${count} counted, ${endedByClient} of ${connections} ended by the client`,
  );
  assert.ok(bytes >= count * 100);
  assert.equal(
    series.reduce((sum, n) => sum + n, 0),
    count,
  );
  assert.deepEqual(errors, {});
});
