// npm run fuzz -- [MINUTES] [SEED]: fuzzes detection for that long (default 1), beginning with the kept seeds; prints
// how far it came and adds to seeds/detect.txt what showed something new. Exit code 1 and the input when something broke.

import { readFileSync, writeFileSync } from "node:fs";
import { formatConversation, parseConversation } from "./conversation.ts";
import { fuzzDetection } from "./detect.ts";
import { fuzz } from "./fuzzer.ts";

const file = new URL("seeds/detect.txt", import.meta.url);
const minutes = Number(process.argv[2] ?? 1);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 32);
/** Longer ones are like shorter ones, and the file is read by people. */
const maxKeptLength = 160;

const lines = readFileSync(file, "utf8")
  .split("\n")
  .filter((line) => line !== "");
const end = performance.now() + minutes * 60_000;
const { cases, corpus } = fuzz(
  fuzzDetection,
  lines.map(parseConversation),
  seed,
  (count) => count % 1024 !== 0 || performance.now() < end,
);
const added = corpus.slice(lines.length).map(formatConversation);
console.log(`seed ${seed}: ${cases} cases, ${added.length} of them new, in ${minutes} minutes`);
const kept = added.filter((line) => line.length <= maxKeptLength);
writeFileSync(file, [...lines, ...kept, ""].join("\n"));
