// What becomes of connections while the proxy is killed or terminated, and started again or replaced by one of a new layout.

import assert from "node:assert/strict";
import { test } from "node:test";
import { otherObjects } from "../kernel/lab/other-objects.ts";
import { churn, defaultConcurrency, EndlessChurn, failures } from "./harness/churn.ts";
import { startGuarded } from "./harness/guarded.ts";
import { Mesh } from "./harness/mesh.ts";

const attempts = 10_000;

for (const { title, end, isOther } of [
  { title: "killed with -9 and restarted", end: "SIGKILL", isOther: false },
  { title: "terminated and restarted", end: "SIGTERM", isOther: false },
  { title: "killed with -9 and replaced by one of a new layout", end: "SIGKILL", isOther: true },
  { title: "terminated and replaced by one of a new layout", end: "SIGTERM", isOther: true },
] as const) {
  test(`proxy ${title}: of a strict pod's connects none passes it by; of a permissive pod's none fails but those it had accepted`, async (t) => {
    await using mesh = await Mesh.start();
    const { node, strict, permissive, service } = await startGuarded(mesh);
    const culvert = await node.culvert();
    const loads = [
      await EndlessChurn.start(strict, service.ipv4, 7000),
      await EndlessChurn.start(permissive, service.ipv4, 7000),
    ];
    await culvert.connections(2000);
    culvert.signal(end);
    await culvert.exited();
    const nextPhase = () => Promise.all(loads.map((load) => load.nextPhase()));
    await nextPhase();
    const denied = [
      await churn(strict, service.ipv4, 7000, { connections: attempts }),
      await churn(strict, service.ipv6, 7000, { connections: attempts }),
    ];
    const env = { NODE_ENV: "test", ...(isOther && { CULVERT_TEST_BPF: otherObjects("oneMapMore") }) };
    const restarted = await node.culvert({ env });
    await nextPhase();
    await restarted.connections(2000);
    const [strictOver, permissiveOver] = await Promise.all(loads.map((load) => load.stop()));
    t.diagnostic(JSON.stringify({ denied, strictOver, permissiveOver }));
    for (const { direct, failed } of denied) assert.deepEqual([direct, failed], [0, { EPERM: attempts }]);
    assert.deepEqual(
      strictOver!.map(({ direct }) => direct),
      [0, 0, 0],
    );
    assert.deepEqual(strictOver![2]!.failed, {}, "restarted, it carries all");
    assert.ok(strictOver!.reduce((sum, phase) => sum + phase.succeeded + failures(phase), 0) >= attempts);
    const [under, without, again] = permissiveOver!;
    // Of each that the client had open, the one that was accepted; and the one dialled in its place, if the dying process
    // closed the first before its listener, in whose queue the second then waits.
    assert.ok(failures(under!) <= 2 * defaultConcurrency, "what it had accepted");
    assert.deepEqual([without!.failed, again!.failed], [{}, {}]);
    assert.equal(again!.direct, 0, "no connect is missed after the restart");
  });
}
