// Connections that the proxy makes inside a pod under somebody else's address.

import assert from "node:assert/strict";
import { constants } from "node:os";
import { after, before, describe, test } from "node:test";
import { cannotRun, type Host, Lab } from "./lab/lab.ts";

const { ECONNREFUSED, EADDRINUSE } = constants.errno;

describe("source kept", { skip: cannotRun() }, () => {
  let lab: Lab;
  let server: Host;

  before(async () => {
    lab = await Lab.create();
    server = await lab.host("server");
    await server.serve(7000);
  });
  after(() => lab[Symbol.asyncDispose]());

  // Nobody has these addresses: an answer that left the pod would be lost.
  const ways = () =>
    [
      { family: "IPv4", source: "10.77.9.9", name: "[::ffff:10.77.9.9]", destination: server.ip4 },
      { family: "IPv6", source: "fd77:9::9", name: "[fd77:9::9]", destination: server.ip6 },
    ] as const;

  test("the application sees the address and port that the proxy bound, over IPv4 and IPv6", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server);
    for (const { source, name, destination } of ways()) {
      // Twice by the same port: the first connection's TIME_WAIT is in nobody's way.
      for (let i = 0; i < 2; i++) {
        const answer = await proxy.process.call("dialAs", {
          ...{ pod: server.name, source, sourcePort: 10_240, destination, port: 7000, timeoutMs: 10_000 },
        });
        assert.equal(answer.greeting?.peer, `${name}:10240`, JSON.stringify(answer));
      }
    }
  });

  test("a port that nobody listens on refuses at once, and one that an application listens on cannot be bound", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server);
    await server.serve(10_241);
    for (const { source, destination } of ways()) {
      const dial = (sourcePort: number) =>
        proxy.process.call("dialAs", {
          ...{ pod: server.name, source, sourcePort, destination, port: 7999, timeoutMs: 60_000 },
        });
      assert.deepEqual(await dial(10_240), { errno: ECONNREFUSED });
      assert.deepEqual(await dial(10_241), { errno: EADDRINUSE });
    }
    await server.app.call("stopServing", 10_241);
  });

  test("rules and routes are there from prepare to release, once", async () => {
    await using proxy = await lab.startedProxy([]);
    const rules = async () => {
      const lines = [await lab.run(server, "ip", "-4", "rule"), await lab.run(server, "ip", "-6", "rule")];
      return lines.join("\n").match(/lookup 7733/g)?.length ?? 0;
    };
    const routes = async () =>
      [
        await lab.run(server, "ip", "-4", "route", "show", "table", "all"),
        await lab.run(server, "ip", "-6", "route", "show", "table", "all"),
      ]
        .join("\n")
        .match(/local default dev lo table 7733/g)?.length ?? 0;
    for (let i = 0; i < 2; i++) {
      await proxy.process.call("prepare", server.request());
      assert.deepEqual([await rules(), await routes()], [2, 2]);
      await proxy.process.call("release", server.name);
      assert.deepEqual([await rules(), await routes()], [0, 0]);
    }
  });
});
