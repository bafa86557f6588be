import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseConversation } from "./conversation.ts";
import { fuzzDetection } from "./detect.ts";
import { fuzz } from "./fuzzer.ts";

/** Every run the same cases; test/fuzz/run.ts runs others, for as long as one likes. */
const cases = 20_000;

test("detection withstands what fuzzing has found so far, and what comes of changing it", () => {
  const seeds = readFileSync(new URL("seeds/detect.txt", import.meta.url), "utf8");
  const corpus = seeds
    .split("\n")
    .filter((line) => line !== "")
    .map(parseConversation);
  assert.ok(corpus.length > 50);
  assert.equal(fuzz(fuzzDetection, corpus, 1, (count) => count < cases).cases, cases);
});
