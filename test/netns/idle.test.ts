// Symptom: a stream that is half closed is cut when it has been silent for a minute. Both ways at once: a minute is long.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Mesh } from "./harness/mesh.ts";

const silenceMs = 61_000;

test("a half-closed stream that is silent for over a minute goes on, through one proxy and through two, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const [a, b] = [mesh.node("a"), mesh.node("b")];
  const client = a.pod("client");
  const pairs = [a.pod("near"), b.pod("far")].flatMap((server) =>
    [4, 6].map((family) => ({ server, family, port: 7000 + family })),
  );
  const listeners = await Promise.all(pairs.map(({ server, port }) => server.listen(port)));
  await Promise.all([a.culvert(), b.culvert()]);
  const sockets = await Promise.all(
    pairs.map(async ({ server, family, port }, i) => {
      const socket = await client.socket();
      await socket.connect(family === 4 ? server.ipv4 : server.ipv6, port);
      await listeners[i]!.accept();
      await socket.send("question");
      await socket.shutdown();
      assert.deepEqual(await listeners[i]!.ending(), { bytes: 8, end: "fin" });
      return socket;
    }),
  );
  await setTimeout(silenceMs);
  for (const [i, socket] of sockets.entries()) {
    await listeners[i]!.send("answer");
    assert.equal(await socket.receive(6), "answer");
    await listeners[i]!.close();
    assert.deepEqual(await socket.ending(), { bytes: 0, end: "fin" });
  }
});
