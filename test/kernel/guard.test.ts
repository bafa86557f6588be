// What is decided where the proxy cannot or must not take a connection: strict pods, stuck workers, the mesh's own ports,
// services without an endpoint.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Dialled } from "./lab/greeting.ts";
import { cannotRun, type Host, Lab } from "./lab/lab.ts";

describe("guard", { skip: cannotRun() }, () => {
  let lab: Lab;
  let client: Host;
  let server: Host;
  let outsider: Host;

  before(async () => {
    lab = await Lab.create();
    client = await lab.host("client");
    server = await lab.host("server");
    outsider = await lab.host("outsider", { isPod: false });
    for (const host of [client, server]) await host.serve(7000);
  });
  after(() => lab[Symbol.asyncDispose]());

  test("connecting to a mesh port directly, from outside or from within the pod, gets a reset", async () => {
    await using proxy = await lab.startedProxy([]);
    await proxy.enroll(server);
    const own = [server.ip4, server.ip6, "127.0.0.1", "::1", `::ffff:${server.ip4}`, "127.77.1.2"];
    const dials = [
      ...[server.ip4, server.ip6].map((host) => ({ from: outsider, host })),
      ...own.map((host) => ({ from: server, host })),
    ];
    for (const port of [15_001, 15_006]) {
      const counts = await proxy.counted(async () => {
        for (const { from, host } of dials) {
          assert.equal(who(await from.dial(host, port)), "ECONNREFUSED", `${from.name} to ${host}:${port}`);
        }
      });
      assert.equal(counts.deny_no_record, dials.length);
    }
    assert.deepEqual(await proxy.counted(() => outsider.dial(server.ip4, 15_008)), { pass_mesh_port: 1 });
  });
});

function who(dialled: Dialled): string | undefined {
  return dialled.greeting?.who ?? dialled.error;
}
