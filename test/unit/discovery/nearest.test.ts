import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { editDistance, nearest } from "../../../src/discovery/nearest.ts";

const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 8 });

test("the distance of two words is that of the definition: 0 when equal, else by the cheapest of three edits", () => {
  const byDefinition = (a: string, b: string): number => {
    if (a === "" || b === "") return a.length + b.length;
    if (a[0] === b[0]) return byDefinition(a.slice(1), b.slice(1));
    const [restA, restB] = [a.slice(1), b.slice(1)];
    return 1 + Math.min(byDefinition(restA, b), byDefinition(a, restB), byDefinition(restA, restB));
  };
  const short = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 5 });
  fc.assert(fc.property(short, short, (a, b) => assert.equal(editDistance(a, b), byDefinition(a, b))));
});

test("the distance is as much the one way as the other, and never less by a detour", () => {
  fc.assert(
    fc.property(word, word, word, (a, b, c) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.ok(editDistance(a, c) <= editDistance(a, b) + editDistance(b, c));
    }),
  );
});

test("a typo is recognised, another word is not", () => {
  const keys = ["addresses", "netns", "name", "node"];
  assert.equal(nearest("adresses", keys), "addresses");
  assert.equal(nearest("nods", keys), "node");
  assert.equal(nearest("nme", keys), "name");
  assert.equal(nearest("port", keys), undefined);
  assert.equal(nearest("x", ["y"]), undefined);
  assert.equal(nearest("x", []), undefined);
});
