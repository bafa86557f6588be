// A worker's answers to the main thread's questions: bounded lists, collected a slice per turn of the loop, so that a
// question never keeps the traffic waiting.

import { setImmediate as nextTurn } from "node:timers/promises";
import { familyOf, formatSocketAddress } from "../mesh/address.ts";
import { type Endpoint, isAvailable } from "../mesh/endpoint.ts";
import type { Candidate, ServiceTarget } from "../mesh/mesh-index.ts";
import { labelOf } from "../mesh/snapshot.ts";
import type { SocketWords } from "../runtime/reactor.ts";
import type { EndpointState, OpenConnection, RouteState } from "../telemetry/reports.ts";
import type { ProxyContext } from "./context.ts";
import { decide, transportTo } from "./decide.ts";
import type { Answer, Answers, ConnectionFilter, Question } from "./questions.ts";

/** Some 100 µs each. */
const connectionsPerTurn = 500;
const routesPerTurn = 50;

export async function answer(context: ProxyContext, question: Question): Promise<Answer> {
  if (question.about === "connections") return openConnections(context, question.filter, question.limit);
  const routes: RouteState[] = [];
  for (const [i, destination] of question.destinations.entries()) {
    if (i % routesPerTurn === routesPerTurn - 1) await nextTurn();
    routes.push(routeState(context, destination));
  }
  return routes;
}

async function openConnections(
  context: ProxyContext,
  filter: ConnectionFilter,
  limit: number,
): Promise<Answers["connections"]> {
  const connections: OpenConnection[] = [];
  let matching = 0;
  let seen = 0;
  // A Set's iterator goes on over what is added and removed meanwhile; what is opened from now on is not waited for.
  const open = context.streams.size;
  for (const stream of context.streams) {
    if (seen++ === open) break;
    if (seen % connectionsPerTurn === 0) await nextTurn();
    if (!stream.matches(filter)) continue;
    const described = stream.describe();
    if (filter.text !== undefined && !mentions(described, filter.text)) continue;
    matching++;
    if (connections.length < limit) connections.push(described);
  }
  return { open, matching, connections };
}

function mentions({ source, destination, endpoint }: OpenConnection, text: string): boolean {
  return source.includes(text) || destination.includes(text) || (endpoint?.includes(text) ?? false);
}

function routeState({ index, node, now }: ProxyContext, destination: SocketWords): RouteState {
  const { w0, w1, w2 } = destination;
  const nowMs = now();
  const decision = decide(index, destination);
  if (decision.to === "unknown") return { to: "unknown", name: undefined, transport: "plain", endpoints: [] };
  if (decision.to === "workload") {
    const { workload } = decision;
    return { to: "workload", name: labelOf(workload), transport: transportTo(workload, node), endpoints: [] };
  }
  const { service } = decision;
  return {
    to: "service",
    name: service.name,
    transport: undefined,
    endpoints: index.candidatesOf(service, familyOf(w0, w1, w2)).map((it) => endpointState(service, it, node, nowMs)),
  };
}

function endpointState(service: ServiceTarget, candidate: Candidate, node: string, nowMs: number): EndpointState {
  const { workload, address, port, endpoint, because } = candidate;
  return {
    name: labelOf(workload),
    address: formatSocketAddress(address, port),
    node: workload.node,
    transport: transportTo(workload, node),
    isEligible: endpoint !== undefined && (isAvailable(endpoint, nowMs) || areAllEjected(service, nowMs)),
    why: endpoint === undefined ? because : healthOf(service, endpoint, nowMs),
    openConnections: endpoint?.openConnections ?? 0,
  };
}

function healthOf(service: ServiceTarget, endpoint: Endpoint, nowMs: number): string {
  const tier = service.tiers.findIndex((it) => it.includes(endpoint));
  const nearness = tier === 0 ? "ready" : "ready, when those that are nearer are crowded or ejected";
  if (endpoint.ejectedUntilMs === 0) return nearness;
  if (isAvailable(endpoint, nowMs)) return "to be probed: connecting failed before";
  const leftMs = Math.max(endpoint.ejectedUntilMs - nowMs, 0);
  const ejected = endpoint.isProbed ? "being probed" : `ejected for ${Math.ceil(leftMs / 1000)} s: connecting failed`;
  return areAllEjected(service, nowMs) ? `${ejected}, but so it did to all: tried nevertheless` : ejected;
}

function areAllEjected({ endpoints }: ServiceTarget, nowMs: number): boolean {
  return !endpoints.some((it) => isAvailable(it, nowMs));
}
