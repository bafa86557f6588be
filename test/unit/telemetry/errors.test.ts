import assert from "node:assert/strict";
import { test } from "node:test";
import { CulvertError, culvertError, type ErrorCode, errorTable } from "../../../src/telemetry/errors.ts";

const codes = Object.keys(errorTable) as ErrorCode[];

test("an error says what was attempted, why it failed and what to do, and carries its code, source and cause", () => {
  const cause = new Error("ECONNREFUSED");
  const error = culvertError("CONNECT_REFUSED", { endpoint: "default/web-1 10.0.0.1:80" }, cause);
  assert.ok(error instanceof CulvertError && error instanceof Error);
  assert.equal(
    error.message,
    "connect to default/web-1 10.0.0.1:80: refused; check that the application runs and listens on that port, not on loopback only",
  );
  assert.deepEqual(
    [error.name, error.code, error.source, error.retry, error.cause],
    ["CulvertError", "CONNECT_REFUSED", "upstream", "safe", cause],
  );
});

test("an error without a cause has none", () => {
  assert.equal("cause" in culvertError("NO_ENDPOINT", { service: "default/web:80" }), false);
});

test("details are inserted as they are, braces and dollars included", () => {
  assert.match(
    culvertError("NO_ENDPOINT", { service: "{service} $& $1" }).message,
    /^connect to service \{service\} \$& \$1:/,
  );
});

test("every code of the table is written in capitals and its words begin in lower case", () => {
  for (const code of codes) {
    const { template, hint } = errorTable[code];
    assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
    assert.match(template, /^[a-z]/, code);
    assert.match(hint, /^[a-z].*[^.]$/, code);
  }
});
