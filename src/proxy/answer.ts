// A worker's answers to the main thread's questions: bounded lists, a part per turn of the loop, so that a question never
// keeps the traffic waiting.

import { setImmediate as nextTurn } from "node:timers/promises";
import { familyOf, formatSocketAddress } from "../mesh/address.ts";
import { pickEndpoint } from "../mesh/balance.ts";
import { type Endpoint, isAvailable } from "../mesh/endpoint.ts";
import type { Candidate, ServiceTarget } from "../mesh/mesh-index.ts";
import { labelOf } from "../mesh/snapshot.ts";
import type { EndpointState, OpenConnection, RouteState } from "../telemetry/reports.ts";
import type { ProxyContext } from "./context.ts";
import { decide, transportTo } from "./decide.ts";
import type { ConnectionFilter, Part, Parts, Question, RouteQuestion } from "./questions.ts";

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

async function* routes(context: ProxyContext, destinations: readonly RouteQuestion[]): AsyncGenerator<Parts["routes"]> {
  let seen = 0;
  for (const [destination, question] of destinations.entries()) {
    for (const route of routeParts(context, question)) {
      yield { destination, route };
      seen += route.endpoints.length + 1;
      if (seen < itemsPerTurn) continue;
      seen = 0;
      await nextTurn();
    }
  }
}

function* routeParts(
  { index, node, now, random }: ProxyContext,
  { destination, client }: RouteQuestion,
): Generator<RouteState> {
  const decision = decide(index, destination);
  if (decision.to === "unknown") {
    yield { to: "unknown", name: undefined, transport: "plain", balancing: undefined, endpoints: [] };
    return;
  }
  if (decision.to === "workload") {
    const { workload } = decision;
    const transport = transportTo(workload, node);
    yield { to: "workload", name: labelOf(workload), transport, balancing: undefined, endpoints: [] };
    return;
  }
  const { service } = decision;
  const { w0, w1, w2 } = destination;
  const candidates = index.candidatesOf(service, familyOf(w0, w1, w2));
  const health = healthOf(service, now());
  const balancing = service.hasAffinity ? "affinity" : service.tiers.length > 1 ? "nearest" : "any";
  if (service.hasAffinity && client !== undefined) {
    const words = [client.w0, client.w1, client.w2, client.w3] as const;
    health.only = pickEndpoint(service, { nowMs: health.nowMs, random, client: words, tried: [] });
  }
  for (let from = 0; from === 0 || from < candidates.length; from += itemsPerTurn) {
    const endpoints = candidates.slice(from, from + itemsPerTurn).map((it) => endpointState(it, node, health));
    yield { to: "service", name: service.name, transport: undefined, balancing, endpoints };
  }
}

/** What is known of a service's endpoints together. */
interface Health {
  readonly nowMs: number;
  readonly nearest: ReadonlySet<Endpoint>;
  readonly areAllEjected: boolean;
  /** The one that the client's address leads to, if it does. */
  only: Endpoint | undefined;
}

function healthOf({ tiers, endpoints }: ServiceTarget, nowMs: number): Health {
  const areAllEjected = !endpoints.some((it) => isAvailable(it, nowMs));
  return { nowMs, nearest: new Set(tiers[0] ?? []), areAllEjected, only: undefined };
}

function endpointState(candidate: Candidate, node: string, health: Health): EndpointState {
  const { workload, address, port, endpoint, because } = candidate;
  return {
    name: labelOf(workload),
    address: formatSocketAddress(address, port),
    node: workload.node,
    transport: transportTo(workload, node),
    isEligible: endpoint !== undefined && isEligible(endpoint, health),
    why: endpoint === undefined ? because : describeHealth(endpoint, health),
    openConnections: endpoint?.openConnections ?? 0,
  };
}

function isEligible(endpoint: Endpoint, { nowMs, areAllEjected, only }: Health): boolean {
  return (only === undefined || only === endpoint) && (isAvailable(endpoint, nowMs) || areAllEjected);
}

function describeHealth(endpoint: Endpoint, { nowMs, nearest, areAllEjected, only }: Health): string {
  if (only !== undefined && only !== endpoint) return "the client's address leads to another (affinity)";
  const nearness = nearest.has(endpoint) ? "ready" : "ready, when those that are nearer are crowded or ejected";
  if (endpoint.ejectedUntilMs === 0) return nearness;
  if (isAvailable(endpoint, nowMs)) return "to be probed: connecting failed before";
  const leftMs = Math.max(endpoint.ejectedUntilMs - nowMs, 0);
  const ejected = endpoint.isProbed ? "being probed" : `ejected for ${Math.ceil(leftMs / 1000)} s: connecting failed`;
  return areAllEjected ? `${ejected}, but so it did to all: tried nevertheless` : ejected;
}
