// Hot: runs per connection; nothing is allocated.
// Choosing an endpoint. Pure: randomness and time are the caller's.
//
//   services with affinity: the nearest tier with an available endpoint; there the one with the highest hash of client and endpoint
//   others: of each tier the better of two (P2C); the nearest, unless it is crowded compared with the next
//   all ejected: as if none were

import type { AddressWords } from "./address.ts";
import { type Endpoint, isAvailable } from "./endpoint.ts";

/** Endpoints of a service's port, by nearness. */
export interface Balanced {
  /** All of them. */
  readonly endpoints: readonly Endpoint[];
  /** The nearest first, none empty: a partition of `endpoints`. */
  readonly tiers: readonly (readonly Endpoint[])[];
  readonly hasAffinity: boolean;
}

/** One connection's. `random` yields numbers in [0, 1). */
export interface Circumstances {
  readonly nowMs: number;
  readonly random: () => number;
  /** The client's address; words may be signed. */
  readonly client: AddressWords;
  /** What this connection has tried in vain. */
  readonly tried: readonly Endpoint[];
}

/** How many times as many open connections, and how many more, an endpoint may have than one farther away. */
const spillFactor = 4;
const spillSlack = 8;

/** Undefined when there is none that was not tried. */
export function pickEndpoint(target: Balanced, circumstances: Circumstances): Endpoint | undefined {
  return pickAmong(target, circumstances, true) ?? pickAmong(target, circumstances, false);
}

function pickAmong(
  { tiers, hasAffinity }: Balanced,
  circumstances: Circumstances,
  onlyAvailable: boolean,
): Endpoint | undefined {
  let chosen: Endpoint | undefined;
  for (const tier of tiers) {
    const candidate = hasAffinity
      ? pickByClient(tier, circumstances, onlyAvailable)
      : pickP2c(tier, circumstances, onlyAvailable);
    if (candidate === undefined) continue;
    if (hasAffinity) return candidate;
    if (chosen === undefined) chosen = candidate;
    else if (chosen.openConnections > candidate.openConnections * spillFactor + spillSlack) chosen = candidate;
    else return chosen;
  }
  return chosen;
}

/**
 * Power of two choices: of two different endpoints drawn at random, the one with fewer open connections. Nearly as even as
 * looking at all of them, at constant cost, and workers that know only their own connections do not all pick the same one.
 */
function pickP2c(
  endpoints: readonly Endpoint[],
  circumstances: Circumstances,
  onlyAvailable: boolean,
): Endpoint | undefined {
  const { random } = circumstances;
  const count = endpoints.length;
  if (count > 1) {
    const first = Math.floor(random() * count);
    const second = Math.floor(random() * (count - 1));
    const a = endpoints[first]!;
    const b = endpoints[second >= first ? second + 1 : second]!;
    if (isUsable(a, circumstances, onlyAvailable) && isUsable(b, circumstances, onlyAvailable)) return lessLoaded(a, b);
  }
  // Rare: some are ejected or were tried. The same among the others.
  let usable = 0;
  for (const it of endpoints) if (isUsable(it, circumstances, onlyAvailable)) usable++;
  if (usable < 2) return endpoints.find((it) => isUsable(it, circumstances, onlyAvailable));
  const first = Math.floor(random() * usable);
  const second = Math.floor(random() * (usable - 1));
  const a = nthUsable(endpoints, first, circumstances, onlyAvailable);
  return lessLoaded(a, nthUsable(endpoints, second >= first ? second + 1 : second, circumstances, onlyAvailable));
}

function lessLoaded(a: Endpoint, b: Endpoint): Endpoint {
  return b.openConnections < a.openConnections ? b : a;
}

function nthUsable(
  endpoints: readonly Endpoint[],
  n: number,
  circumstances: Circumstances,
  onlyAvailable: boolean,
): Endpoint {
  let left = n;
  for (const it of endpoints) if (isUsable(it, circumstances, onlyAvailable) && left-- === 0) return it;
  throw new RangeError(`${n} is not among the usable endpoints`);
}

function isUsable(endpoint: Endpoint, { nowMs, tried }: Circumstances, onlyAvailable: boolean): boolean {
  return (!onlyAvailable || isAvailable(endpoint, nowMs)) && !tried.includes(endpoint);
}

/**
 * The highest of a hash over client and endpoint (rendezvous): every worker and every node chooses alike without having
 * talked, and an endpoint that comes or goes moves only the clients that it takes or had.
 */
function pickByClient(
  endpoints: readonly Endpoint[],
  circumstances: Circumstances,
  onlyAvailable: boolean,
): Endpoint | undefined {
  let best: Endpoint | undefined;
  let highest = -1;
  for (const it of endpoints) {
    if (!isUsable(it, circumstances, onlyAvailable)) continue;
    const score = hash(circumstances.client, it);
    if (score <= highest) continue;
    best = it;
    highest = score;
  }
  return best;
}

function hash(client: AddressWords, { address, port }: Endpoint): number {
  let h = 0x9e3779b1;
  for (let i = 0; i < 4; i++) h = mix(mix(h, client[i]!), address.words[i]!);
  return mix(h, port) >>> 0;
}

/** A round of murmur3, finished. */
function mix(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  let x = h ^ k;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
