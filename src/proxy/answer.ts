// A worker's answers to the main thread's questions: bounded lists, collected a slice per turn of the loop, so that a
// question never keeps the traffic waiting.

import { setImmediate as nextTurn } from "node:timers/promises";
import { formatSocketAddress } from "../mesh/address.ts";
import { labelOf } from "../mesh/snapshot.ts";
import type { SocketWords } from "../runtime/reactor.ts";
import type { OpenConnection, RouteState } from "../telemetry/reports.ts";
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

function routeState({ index, node }: ProxyContext, destination: SocketWords): RouteState {
  const decision = decide(index, destination);
  if (decision.to === "unknown") return { to: "unknown", name: undefined, transport: "plain", endpoints: [] };
  if (decision.to === "workload") {
    const { workload } = decision;
    return { to: "workload", name: labelOf(workload), transport: transportTo(workload, node), endpoints: [] };
  }
  const { name, endpoints } = decision.service;
  return {
    to: "service",
    name,
    transport: undefined,
    endpoints: endpoints.map((each) => ({
      name: each.label,
      address: formatSocketAddress(each.address, each.port),
      node: each.workload.node,
      transport: transportTo(each.workload, node),
      isEligible: true,
      why: "listed in mesh.yaml",
      openConnections: each.openConnections,
    })),
  };
}
