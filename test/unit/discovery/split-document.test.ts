// Taken apart and read piece by piece, a mesh.yaml says what it says as a whole; what cannot be taken apart is read whole.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseDocument, stringify } from "yaml";
import { beginning, isComplete, type ListName, splitLines } from "../../../src/discovery/split-document.ts";

const head = "node: { name: a, cgroups: { pods: /p } }\n";

/** What is not in lists, and the texts of their entries; undefined: not taken apart. */
function splitDocument(text: string): { rest: string; lists: Map<ListName, string[]> } | undefined {
  const split = splitLines(text, beginning);
  if (split === undefined || !isComplete(split.to)) return undefined;
  assert.equal(split.cuts.map(({ start, end }) => text.slice(start, end)).join(""), text);
  let rest = "";
  const lists = new Map<ListName, string[]>();
  for (const { kind, start, end } of split.cuts) {
    const piece = text.slice(start, end);
    if (kind === "rest") rest += piece;
    else if (kind !== "head") lists.set(kind, [...(lists.get(kind) ?? []), piece]);
  }
  return { rest, lists };
}

/** What the pieces say together; undefined: not taken apart. */
function joined(text: string): unknown {
  const split = splitDocument(text);
  if (split === undefined) return undefined;
  const value = parseDocument(split.rest).toJS() as Record<string, unknown>;
  for (const [list, entries] of split.lists) {
    value[list] = entries.map((entry) => {
      const [only, ...others] = parseDocument(entry).toJS() as unknown[];
      assert.deepEqual(others, []);
      return only;
    });
  }
  return value;
}

describe("a mesh.yaml that is taken apart", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "-", " ", "\n", "#", ":", '"', "'", "|"), maxLength: 12 });
  const entry = fc.dictionary(fc.constantFrom("name", "x", "y"), fc.oneof(text, fc.integer(), fc.array(text)), {
    minKeys: 1,
  });
  const list = fc.array(entry, { minLength: 1, maxLength: 4 });
  const document = fc.record({ node: entry, workloads: list, nodes: list, services: list }, { requiredKeys: ["node"] });

  test("says piece by piece what it says as a whole, whatever its values and however it is indented", () => {
    const style = fc.record({
      indent: fc.integer({ min: 2, max: 4 }),
      indentSeq: fc.boolean(),
      lineWidth: fc.constantFrom(0, 20, 80),
      defaultStringType: fc.constantFrom(
        "PLAIN",
        "QUOTE_DOUBLE",
        "BLOCK_LITERAL",
        "BLOCK_FOLDED",
      ) as fc.Arbitrary<"PLAIN">,
    });
    let taken = 0;
    fc.assert(
      fc.property(document, style, (value, options) => {
        const written = stringify(value, options);
        const found = joined(written);
        if (found === undefined) return;
        taken++;
        assert.deepEqual(found, parseDocument(written).toJS());
      }),
      { numRuns: 500 },
    );
    assert.ok(taken > 300, `${taken} of 500 were taken apart`);
  });

  test("keeps comments and empty lines out of the way", () => {
    const written = `${head}# before
workloads: # these

  # the first
  - name: w

    node: a
  # the second
  - name: v # last
# between
services:
- name: s
- name: t
`;
    assert.deepEqual(splitDocument(written)?.lists.get("workloads")?.length, 2);
    assert.deepEqual(joined(written), parseDocument(written).toJS());
  });

  for (const [title, written] of [
    ["lists in flow style stay whole", `${head}workloads: [{ name: w }]\n`],
    ["an anchor at a list stays whole", `${head}workloads: &all\n  - name: w\n`],
  ] as const) {
    test(title, () => assert.equal(splitDocument(written)?.lists.size, 0));
  }

  for (const [title, written] of [
    ["a list that is there twice", `workloads:\n  - a\nworkloads:\n  - b\n`],
    ["a list without entries", `${head}workloads:\nservices:\n  - a\n`],
    ["an entry that is indented less than the first", `workloads:\n    - a\n  - b\n`],
    ["something else between entries", `workloads:\n  - a\n  b: c\n`],
    ["tabs, several documents, directives", "a: 1\n---\nworkloads:\n  - b\n"],
  ] as const) {
    test(`${title}: nothing is taken apart`, () => assert.equal(splitDocument(written), undefined));
  }
});
