// What Pods keeps of a pod that cannot be enrolled.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Pods } from "../../../src/app/pods.ts";
import type { WorkerPool } from "../../../src/app/worker-pool.ts";
import type { LocalPod } from "../../../src/discovery/node-config.ts";
import type { Capture } from "../../../src/kernel/capture.ts";
import { NodeLog } from "../../../src/telemetry/log.ts";

test("a strict pod that was closed is opened when it is withdrawn, although it could not even be closed since", async () => {
  const [told, answers]: [string[], (string | undefined)[]] = [[], ["closed", undefined]];
  const fail = () => {
    throw new Error("no");
  };
  const pods = {
    prepare: fail,
    seal: () => answers.shift() ?? fail(),
    disarm: (pod: string) => told.push(`disarm ${pod}`),
    release: (pod: string) => told.push(`release ${pod}`),
  };
  const capture = { pods, rules: { deniesUnknown: false } } as unknown as Capture;
  const { logger } = new NodeLog("error", { write: () => {}, flushed: async () => {} });
  const it = new Pods(capture, {} as WorkerPool, logger, { observe: () => {} });
  const pod = { name: "default/web", outboundStrict: true, inboundStrict: true } as LocalPod;
  assert.deepEqual([await it.enroll(pod), await it.enroll(pod)], [false, false]);
  await it.withdraw(pod.name);
  assert.deepEqual(told, ["disarm closed", "release closed"]);
});
