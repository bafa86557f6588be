import assert from "node:assert/strict";
import { test } from "node:test";
import { collected } from "../../../src/cli/commands/sysdump.ts";
import { culvertError } from "../../../src/telemetry/errors.ts";

test("an entry of a sysdump that cannot be collected is the reason in words", async () => {
  const failing = (error: Error) => collected(() => Promise.reject(error));
  assert.match(
    await failing(culvertError("NODE_NOT_FOUND", { socket: "/run/a.sock" })),
    /^ask the Culvert of \/run\/a/,
  );
  for (const [message, words] of [
    ["EACCES: permission denied, open '/etc/it's, secret'", "permission denied"],
    ["EIO: i/o error, read", "i/o error"],
    ["out of cheese\n    at somewhere", "out of cheese"],
  ] as const) {
    assert.equal(await failing(new Error(message)), `could not be collected: ${words}\n`);
  }
});
