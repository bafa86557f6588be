import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { unlike } from "../../../src/mesh/mesh-delta.ts";

describe("objects that are in one of two lists", () => {
  const objects = Array.from({ length: 12 }, (_, id) => ({ id }));
  const list = fc.subarray(objects);

  test("are found as by comparing each with each, in their order, whatever was moved", () => {
    fc.assert(
      fc.property(list, fc.shuffledSubarray(objects), list, (before, shuffled, ordered) => {
        for (const after of [shuffled, ordered]) {
          assert.deepEqual(unlike(before, after), {
            before: before.filter((it) => !after.includes(it)),
            after: after.filter((it) => !before.includes(it)),
          });
        }
      }),
    );
  });

  test("are none in a list with itself, and all when the other is empty", () => {
    assert.deepEqual(unlike(objects, [...objects]), { before: [], after: [] });
    assert.deepEqual(unlike([], objects), { before: [], after: objects });
    assert.deepEqual(unlike(objects, []), { before: objects, after: [] });
  });
});
