import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, type TestContext, test } from "node:test";
import { type AdminOptions, type AdminServer, PageRefusal, startAdmin } from "../../../src/admin/admin-server.ts";

/** A path in a directory that goes with the test. */
function socketPath(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "culvert-admin-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "run", "a.sock");
}

async function start(
  t: TestContext,
  overrides: Partial<AdminOptions> = {},
): Promise<{ admin: AdminServer; socket: string }> {
  const socket = overrides.socket ?? socketPath(t);
  const admin = await startAdmin({
    socket,
    address: undefined,
    metrics: async () => "culvert_x 1\n",
    readiness: () => ({ ok: true, reason: "" }),
    liveness: () => ({ ok: true, reason: "" }),
    pages: new Map(),
    ...overrides,
  });
  t.after(() => admin.close());
  return { admin, socket };
}

interface Reply {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

async function ask(
  where: { socketPath: string } | { host: string; port: number },
  path: string,
  method = "GET",
): Promise<Reply> {
  const outgoing = request({ ...where, path, method, agent: false }).end();
  const [response] = await once(outgoing, "response");
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

describe("the admin server", () => {
  test("answers /metrics with what is true at that moment, in the Prometheus format", async (t) => {
    let count = 0;
    const { socket } = await start(t, { metrics: async () => `culvert_x ${++count}\n` });
    await ask({ socketPath: socket }, "/metrics");
    const { status, headers, body } = await ask({ socketPath: socket }, "/metrics?from=prometheus");
    assert.deepEqual(
      [status, headers["content-type"], body],
      [200, "text/plain; version=0.0.4; charset=utf-8", "culvert_x 2\n"],
    );
  });

  test("answers /ready with 503 and the reason until it is ready", async (t) => {
    let state = { ok: false, reason: "2 of 3 pods are enrolled" };
    const { socket } = await start(t, { readiness: () => state });
    const before = await ask({ socketPath: socket }, "/ready");
    assert.deepEqual([before.status, before.body], [503, "2 of 3 pods are enrolled\n"]);
    state = { ok: true, reason: "" };
    const after = await ask({ socketPath: socket }, "/ready");
    assert.deepEqual([after.status, after.body], [200, "ready\n"]);
  });

  test("answers anything else with 404 and what there is", async (t) => {
    const { socket } = await start(t);
    const { status, body } = await ask({ socketPath: socket }, "/metricz");
    assert.equal(status, 404);
    assert.equal(body, "no such page; there are:\n  /metrics\n  /ready\n  /live\n");
  });

  test("changes nothing: only GET and HEAD are answered", async (t) => {
    const { socket } = await start(t);
    const post = await ask({ socketPath: socket }, "/ready", "POST");
    assert.deepEqual([post.status, post.headers.allow], [405, "GET, HEAD"]);
    const head = await ask({ socketPath: socket }, "/ready", "HEAD");
    assert.deepEqual([head.status, head.headers["content-length"], head.body], [200, "6", ""]);
  });

  test("answers /live with 503 and the reason when only a restart helps", async (t) => {
    const { socket } = await start(t, { liveness: () => ({ ok: false, reason: "worker 1 hangs" }) });
    const { status, body } = await ask({ socketPath: socket }, "/live");
    assert.deepEqual([status, body], [503, "worker 1 hangs\n"]);
  });

  test("answers pages with JSON, and what a page refuses with its status and words", async (t) => {
    let level = "info";
    const pages: AdminOptions["pages"] = new Map([
      [
        "/level",
        {
          get: () => ({ level }),
          put: (query: URLSearchParams) => {
            level = query.get("level") ?? level;
            return { level };
          },
        },
      ],
      [
        "/none",
        {
          get: async () => {
            throw new PageRefusal(404, "no such pod");
          },
        },
      ],
    ]);
    const { socket } = await start(t, { pages });
    const where = { socketPath: socket };
    assert.equal((await ask(where, "/level?level=debug")).body, '{"level":"info"}\n');
    assert.equal((await ask(where, "/level?level=debug", "PUT")).body, '{"level":"debug"}\n');
    const { headers, body } = await ask(where, "/level");
    assert.deepEqual([headers["content-type"], body], ["application/json", '{"level":"debug"}\n']);
    const refused = await ask(where, "/none");
    assert.deepEqual([refused.status, refused.body], [404, "no such pod\n"]);
    const post = await ask(where, "/level", "POST");
    assert.deepEqual([post.status, post.headers.allow], [405, "GET, HEAD, PUT"]);
    assert.equal((await ask(where, "/none", "PUT")).status, 405);
  });

  test("shows metrics and health over TCP, and nothing else", async (t) => {
    const pages: AdminOptions["pages"] = new Map([["/connections", { get: () => [], put: () => [] }]]);
    const { admin, socket } = await start(t, { address: { host: "127.0.0.1", port: 0 }, pages });
    assert.equal((await ask({ socketPath: socket }, "/connections")).status, 200);
    for (const method of ["GET", "PUT"]) {
      assert.equal((await ask(admin.address!, "/connections", method)).status, 404);
    }
    for (const path of ["/metrics", "/ready", "/live"]) assert.equal((await ask(admin.address!, path)).status, 200);
  });

  test("answers 500 with the error and stays up when a metric cannot be read", async (t) => {
    const { socket } = await start(t, { metrics: () => Promise.reject(new Error("map is gone")) });
    const failed = await ask({ socketPath: socket }, "/metrics");
    assert.deepEqual([failed.status, failed.body], [500, "answer /metrics: map is gone\n"]);
    assert.equal((await ask({ socketPath: socket }, "/ready")).status, 200);
  });

  test("answers on a TCP address too when it has one", async (t) => {
    const { admin } = await start(t, { address: { host: "127.0.0.1", port: 0 } });
    assert.equal((await ask(admin.address!, "/ready")).status, 200);
  });

  test("lets only its owner open the socket, from the moment it is there", async (t) => {
    const umask = process.umask(0);
    t.after(() => process.umask(umask));
    const { socket } = await start(t);
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    assert.equal(process.umask(), 0);
  });

  test("takes the place of the socket that a killed process left behind", async (t) => {
    const socket = socketPath(t);
    const { admin } = await start(t, { socket });
    await admin.close();
    const code = `require("net").createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, "SIGKILL"))`;
    await once(spawn(process.execPath, ["-e", code]), "exit");
    assert.ok(existsSync(socket));
    await start(t, { socket });
    assert.equal((await ask({ socketPath: socket }, "/ready")).status, 200);
  });

  test("refuses a socket on which another process answers, and leaves that one alone", async (t) => {
    const { socket } = await start(t);
    await assert.rejects(start(t, { socket }), {
      code: "ADMIN_SOCKET_IN_USE",
      message: new RegExp(`^listen on ${socket}: another process`),
    });
    assert.equal((await ask({ socketPath: socket }, "/ready")).status, 200);
  });

  test("refuses to replace a file that is no socket", async (t) => {
    const { admin, socket } = await start(t);
    await admin.close();
    writeFileSync(socket, "precious");
    await assert.rejects(start(t, { socket }), {
      code: "ADMIN_SOCKET_BLOCKED",
      message: /a file that is no socket is there; remove/,
    });
    assert.ok(existsSync(socket));
  });

  test("says so when the TCP address is taken, and leaves no socket behind", async (t) => {
    const taken = createServer().listen(0, "127.0.0.1");
    t.after(() => taken.close());
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const socket = socketPath(t);
    await assert.rejects(start(t, { socket, address: { host: "127.0.0.1", port } }), {
      code: "ADMIN_ADDRESS_UNAVAILABLE",
      message: new RegExp(`^listen on 127\\.0\\.0\\.1:${port} for admin requests: .*EADDRINUSE`),
    });
    assert.ok(!existsSync(socket));
  });

  test("closes although a request is being answered and other connections are open, and removes its socket", async (t) => {
    const asked = Promise.withResolvers<void>();
    const never = () => {
      asked.resolve();
      return new Promise<string>(() => {});
    };
    const { admin, socket } = await start(t, { metrics: never });
    const open = (bytes: string) => {
      const connection = connect(socket, () => connection.write(bytes));
      return new Promise((resolve) => connection.on("error", () => {}).on("close", resolve));
    };
    const ended = [open(""), open("GET /ready HTT"), open("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")];
    await asked.promise;
    await admin.close();
    await Promise.all(ended);
    assert.ok(!existsSync(socket));
  });
});
