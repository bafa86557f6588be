// Hot: runs per connection; nothing is allocated.
// Choosing an endpoint. Pure: randomness is the caller's.

import type { Endpoint } from "./mesh-index.ts";

/**
 * Power of two choices: of two different endpoints drawn at random, the one with fewer open connections. Nearly as even as
 * looking at all of them, at constant cost, and workers that know only their own connections do not all pick the same one.
 * `random` yields numbers in [0, 1). Undefined when there is no endpoint.
 */
export function pickP2c(endpoints: readonly Endpoint[], random: () => number): Endpoint | undefined {
  const count = endpoints.length;
  if (count < 2) return endpoints[0];
  const first = Math.floor(random() * count);
  let second = Math.floor(random() * (count - 1));
  if (second >= first) second++;
  const a = endpoints[first]!;
  const b = endpoints[second]!;
  return b.openConnections < a.openConnections ? b : a;
}
