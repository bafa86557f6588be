import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CommanderError } from "commander";
import { AdminRefusal } from "../../../src/admin/admin-client.ts";
import { exitCodeOf, exitCodes } from "../../../src/cli/exit-codes.ts";
import { culvertError } from "../../../src/telemetry/errors.ts";

describe("exit codes", () => {
  test("are those of docs/commands.md, no two the same", () => {
    const doc = readFileSync(join(import.meta.dirname, "../../../docs/commands.md"), "utf8");
    const documented = [...doc.matchAll(/^\| (\d) \| (.*) \|$/gm)].map(([, code, meaning]) => [Number(code), meaning]);
    const known = Object.values(exitCodes).map(({ code, meaning }) => [code, meaning]);
    assert.deepEqual(documented, known);
    assert.equal(new Set(known.map(([code]) => code)).size, known.length);
  });

  test("tell a wrong command line from a node that does not run, does not let one ask, or does not know the name", () => {
    assert.equal(exitCodeOf(new CommanderError(0, "commander.helpDisplayed", "")), 0);
    assert.equal(exitCodeOf(new CommanderError(1, "commander.unknownCommand", "")), 2);
    assert.equal(exitCodeOf(culvertError("NODE_UNCLEAR", { directory: "/run", names: "a, b" })), 2);
    assert.equal(exitCodeOf(culvertError("NODE_NOT_FOUND", { socket: "/run/a.sock" })), 3);
    assert.equal(exitCodeOf(culvertError("NODE_NO_SOCKET", { socket: "/run/a.yaml", kind: "a plain file" })), 3);
    assert.equal(exitCodeOf(culvertError("NODE_NOT_RUNNING", { socket: "/run/a.sock" })), 3);
    assert.equal(exitCodeOf(culvertError("NODE_SILENT", { socket: "/run/a.sock", reason: "no answer" })), 3);
    assert.equal(exitCodeOf(culvertError("ADMIN_DENIED", { socket: "/run/a.sock" })), 4);
    assert.equal(exitCodeOf(new AdminRefusal(404, "/why", "no workload")), 5);
    assert.equal(exitCodeOf(new AdminRefusal(400, "/why", "no destination")), 2);
    assert.equal(exitCodeOf(new AdminRefusal(500, "/why", "map is gone")), 1);
    assert.equal(exitCodeOf(new Error("anything")), 1);
  });
});
