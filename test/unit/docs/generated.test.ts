// docs/errors.md has every error, THIRD-PARTY-NOTICES.md every package that a release contains, and the README a mesh.yaml
// that is valid.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseMesh } from "../../../src/discovery/file-source.ts";
import { errorTable } from "../../../src/telemetry/errors.ts";
import { assertSection, table } from "./generated-section.ts";

const root = join(import.meta.dirname, "../../..");

test("docs/errors.md lists every error with its source, its message and what to do", () => {
  const rows = Object.entries(errorTable).map(([code, { source, retry, template, hint }]) => [
    `\`${code}\``,
    source,
    retry,
    template.replaceAll("|", "\\|"),
    hint.replaceAll("|", "\\|"),
  ]);
  assertSection("docs/errors.md", "errors", table(["code", "source", "retry", "message", "what to do"], rows));
});

test("the mesh.yaml of the README is valid", () => {
  const [, text] = /```yaml\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8")) ?? [];
  const { snapshot } = parseMesh(text!, "README.md");
  assert.deepEqual([snapshot.workloads.length, snapshot.services.length], [1, 1]);
});

interface Locked {
  readonly version: string;
  readonly license?: string;
  readonly dev?: boolean;
}

test("THIRD-PARTY-NOTICES.md has every package that a release contains, with its version, licence and copyright", () => {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, Locked>;
  };
  const shipped = Object.entries(packages)
    .map(([path, it]) => ({ ...it, path, name: path.replace(/^.*node_modules\//, "") }))
    .filter(
      ({ name, dev }) => name !== "" && dev !== true && !/^@(biomejs|typescript)\/|^typescript$|arm64$/.test(name),
    );
  const rows = shipped.map(({ name, path, version, license }) => [
    name,
    version,
    license ?? "unknown",
    copyrightIn(join(root, path)),
  ]);
  assertSection("THIRD-PARTY-NOTICES.md", "packages", table(["package", "version", "licence", "copyright"], rows));
});

function copyrightIn(directory: string): string {
  const names = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license", "LICENCE", "license.md"];
  const file = names.map((name) => join(directory, name)).find((path) => existsSync(path));
  const lines = file === undefined ? [] : readFileSync(file, "utf8").split("\n");
  const line = lines.find((it) => /copyright .*\d{4}|copyright \(c\)|copyright contributors/i.test(it));
  return line?.trim().replaceAll("|", "\\|") ?? "see its package";
}
