// The fuzz target for detection: whatever two sides say, in whatever pieces. Throws on what must not be.

import assert from "node:assert/strict";
import { ClientOpening } from "../../src/proxy/detect/client-opening.ts";
import { Detector } from "../../src/proxy/detect/detector.ts";
import type { Conversation } from "./conversation.ts";
import { referenceVerdict } from "./reference.ts";

/** What shows whether this conversation leads somewhere new: what was decided, and at which byte. */
export function fuzzDetection(conversation: Conversation): string {
  const client = Buffer.concat(conversation.flatMap(({ isClient, bytes }) => (isClient ? [bytes] : [])));
  const opening = new ClientOpening();
  let decidedAt = 0;
  for (; decidedAt < client.length && opening.verdict === undefined; decidedAt++) {
    opening.feed(client, decidedAt, decidedAt + 1);
  }
  const expected = referenceVerdict(client);
  assert.equal(opening.verdict, expected.verdict);
  assert.equal(opening.serverName, expected.name);
  const seen = play(conversation, Number.POSITIVE_INFINITY);
  assert.equal(play(conversation, 1), seen);
  // Most of a ClientHello and of a target is passed over: from there on, roughly where is enough.
  const depth = decidedAt < 64 ? decidedAt : 64 + Math.floor(Math.log2(decidedAt / 64) * 2);
  return `${opening.verdict} ${depth} ${seen}`;
}

/** What was seen of segments of at most so many bytes. */
function play(conversation: Conversation, segmentBytes: number): string {
  const detector = new Detector();
  let decided: string | undefined;
  for (const { isClient, bytes } of conversation) {
    for (let at = 0; at < bytes.length; at += segmentBytes) {
      const end = Math.min(at + segmentBytes, bytes.length);
      if (isClient) detector.onClient(bytes, at, end);
      else detector.onServer(bytes, at, end);
      if (decided !== undefined && detector.protocol !== decided) assert.fail(`${decided} became ${detector.protocol}`);
      decided = detector.protocol;
    }
  }
  checkLesson(detector, conversation);
  const { protocol, by, lesson, isDone, serverName } = detector;
  return `${protocol} ${by} ${lesson} ${isDone} ${serverName !== undefined}`;
}

/** Nothing is taught but what the server said. */
function checkLesson({ lesson }: Detector, conversation: Conversation): void {
  if (lesson === undefined) return;
  const server = Buffer.concat(conversation.flatMap(({ isClient, bytes }) => (isClient ? [] : [bytes])));
  assert.ok(server.length > 0);
  if (lesson === "http") assert.equal(server.toString("latin1", 0, 7), "HTTP/1.");
  if (lesson === "http2") assert.equal(server[3], 4);
  if (lesson === "tls") assert.ok(server[0] === 21 || server[0] === 22);
  if (lesson === "opaque") assert.equal(conversation.find(({ bytes }) => bytes.length > 0)?.isClient, false);
}
