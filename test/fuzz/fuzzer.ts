// A fuzzer that keeps what is new: it changes conversations of its corpus, and what shows a feature that none has shown
// before joins the corpus. Repeatable, given the same corpus and seed.

import { seededRandom } from "../seeded-random.ts";
import { type Conversation, formatConversation, mutate } from "./conversation.ts";

/** Returns a feature; throws when the input breaks what must hold. */
export type Target = (conversation: Conversation) => string;

export interface Fuzzed {
  readonly cases: number;
  /** Those that showed something new, with the corpus that it began with. */
  readonly corpus: readonly Conversation[];
}

/** Runs until `goesOn(cases)` is false. An input that fails is in the error's message. */
export function fuzz(
  target: Target,
  seeds: readonly Conversation[],
  seed: number,
  goesOn: (cases: number) => boolean,
): Fuzzed {
  const random = seededRandom(seed);
  const corpus = [...seeds];
  const features = new Set<string>();
  const run = (conversation: Conversation) => {
    try {
      return target(conversation);
    } catch (error) {
      throw new Error(`fuzzing failed on: ${formatConversation(conversation)}`, { cause: error });
    }
  };
  for (const conversation of seeds) features.add(run(conversation));
  const pick = () => corpus[Math.floor(random() * corpus.length)]!;
  let cases = 0;
  for (; goesOn(cases); cases++) {
    const conversation = mutate(pick(), pick(), random);
    const feature = run(conversation);
    if (features.has(feature)) continue;
    features.add(feature);
    corpus.push(conversation);
  }
  return { cases, corpus };
}
