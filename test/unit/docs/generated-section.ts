// Parts of documents that are made from the code: between `<!-- name -->` and `<!-- /name -->`. CULVERT_WRITE_DOCS=1 writes them
// anew; otherwise the test fails where one is old.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../../..");

export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), `|${header.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
}

/** `document`: its path from the root of the project. */
export function assertSection(document: string, name: string, content: string): void {
  const path = join(root, document);
  const text = readFileSync(path, "utf8");
  const section = new RegExp(`<!-- ${name} -->\n[\\s\\S]*?<!-- /${name} -->`);
  const [found] = section.exec(text) ?? [];
  const wanted = `<!-- ${name} -->\n${content}\n<!-- /${name} -->`;
  if (process.env.CULVERT_WRITE_DOCS === "1")
    writeFileSync(
      path,
      text.replace(section, () => wanted),
    );
  else
    assert.equal(
      found,
      wanted,
      `${document}: ${name} is old; CULVERT_WRITE_DOCS=1 npm test -- unit/docs unit/telemetry/metrics-doc`,
    );
}
