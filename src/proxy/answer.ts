// A worker's answers to the main thread's questions: bounded lists, a part per turn of the loop, so that a question never
// keeps the traffic waiting.

import { setImmediate as nextTurn } from "node:timers/promises";
import { familyOf, formatSocketAddress } from "../mesh/address.ts";
import { type Endpoint, isAvailable } from "../mesh/endpoint.ts";
import type { Candidate, ServiceTarget } from "../mesh/mesh-index.ts";
import { labelOf } from "../mesh/snapshot.ts";
import type { SocketWords } from "../runtime/reactor.ts";
import type { EndpointState, OpenConnection, RouteState } from "../telemetry/reports.ts";
import type { ProxyContext } from "./context.ts";
import { decide, transportTo } from "./decide.ts";
import type { ConnectionFilter, Part, Parts, Question } from "./questions.ts";

/** What is looked at between two turns, and the most that a part has: some 0.5 ms. */
const itemsPerTurn = 500;

export function answer(context: ProxyContext, question: Question): AsyncGenerator<Part> {
  if (question.about === "connections") return openConnections(context, question.filter, question.limit);
  return routes(context, question.destinations);
}

async function* openConnections(
  { streams }: ProxyContext,
  filter: ConnectionFilter,
  limit: number,
): AsyncGenerator<Parts["connections"]> {
  let left = limit;
  let seen = 0;
  let part = { open: streams.size, matching: 0, connections: [] as OpenConnection[] };
  // A Set's iterator goes on over what is added and removed meanwhile; what is opened from now on is not waited for.
  const open = streams.size;
  for (const stream of streams) {
    if (seen++ === open) break;
    if (seen % itemsPerTurn === 0) {
      yield part;
      part = { open: 0, matching: 0, connections: [] };
      await nextTurn();
    }
    if (!stream.matches(filter)) continue;
    const described = stream.describe();
    if (filter.text !== undefined && !mentions(described, filter.text)) continue;
    part.matching++;
    if (left-- > 0) part.connections.push(described);
  }
  yield part;
}

function mentions({ source, destination, endpoint }: OpenConnection, text: string): boolean {
  return source.includes(text) || destination.includes(text) || (endpoint?.includes(text) ?? false);
}

async function* routes(context: ProxyContext, destinations: readonly SocketWords[]): AsyncGenerator<Parts["routes"]> {
  let seen = 0;
  for (const [destination, words] of destinations.entries()) {
    for (const route of routeParts(context, words)) {
      yield { destination, route };
      seen += route.endpoints.length + 1;
      if (seen < itemsPerTurn) continue;
      seen = 0;
      await nextTurn();
    }
  }
}

function* routeParts({ index, node, now }: ProxyContext, destination: SocketWords): Generator<RouteState> {
  const decision = decide(index, destination);
  if (decision.to === "unknown") {
    yield { to: "unknown", name: undefined, transport: "plain", endpoints: [] };
    return;
  }
  if (decision.to === "workload") {
    const { workload } = decision;
    yield { to: "workload", name: labelOf(workload), transport: transportTo(workload, node), endpoints: [] };
    return;
  }
  const { service } = decision;
  const { w0, w1, w2 } = destination;
  const candidates = index.candidatesOf(service, familyOf(w0, w1, w2));
  const health = healthOf(service, now());
  for (let from = 0; from === 0 || from < candidates.length; from += itemsPerTurn) {
    const endpoints = candidates.slice(from, from + itemsPerTurn).map((it) => endpointState(it, node, health));
    yield { to: "service", name: service.name, transport: undefined, endpoints };
  }
}

/** What is known of a service's endpoints together. */
interface Health {
  readonly nowMs: number;
  readonly nearest: ReadonlySet<Endpoint>;
  readonly areAllEjected: boolean;
}

function healthOf({ tiers, endpoints }: ServiceTarget, nowMs: number): Health {
  const areAllEjected = !endpoints.some((it) => isAvailable(it, nowMs));
  return { nowMs, nearest: new Set(tiers[0] ?? []), areAllEjected };
}

function endpointState(candidate: Candidate, node: string, health: Health): EndpointState {
  const { workload, address, port, endpoint, because } = candidate;
  return {
    name: labelOf(workload),
    address: formatSocketAddress(address, port),
    node: workload.node,
    transport: transportTo(workload, node),
    isEligible: endpoint !== undefined && (isAvailable(endpoint, health.nowMs) || health.areAllEjected),
    why: endpoint === undefined ? because : describeHealth(endpoint, health),
    openConnections: endpoint?.openConnections ?? 0,
  };
}

function describeHealth(endpoint: Endpoint, { nowMs, nearest, areAllEjected }: Health): string {
  const nearness = nearest.has(endpoint) ? "ready" : "ready, when those that are nearer are crowded or ejected";
  if (endpoint.ejectedUntilMs === 0) return nearness;
  if (isAvailable(endpoint, nowMs)) return "to be probed: connecting failed before";
  const leftMs = Math.max(endpoint.ejectedUntilMs - nowMs, 0);
  const ejected = endpoint.isProbed ? "being probed" : `ejected for ${Math.ceil(leftMs / 1000)} s: connecting failed`;
  return areAllEjected ? `${ejected}, but so it did to all: tried nevertheless` : ejected;
}
