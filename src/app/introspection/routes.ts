// Where the workers would send connections: each asked of its own state, their answers made one.

import type { IpAddress } from "../../mesh/address.ts";
import { socketWordsOf } from "../../proxy/address-text.ts";
import type { EndpointState, RouteState } from "../../telemetry/reports.ts";
import type { WorkerPool } from "../worker-pool.ts";

/** `client`: whose connection it is, if anybody's. In the order of `destinations`; undefined when no worker answers. */
export async function askRoutes(
  workers: WorkerPool,
  destinations: readonly {
    readonly address: IpAddress;
    readonly port: number;
    readonly client?: IpAddress | undefined;
  }[],
): Promise<(RouteState | undefined)[]> {
  if (destinations.length === 0) return [];
  const words = destinations.map(({ address, port, client }) => ({
    destination: socketWordsOf(address, port),
    client: client && socketWordsOf(client, 0),
  }));
  const answers = await workers.ask({ about: "routes", destinations: words });
  const heard = Map.groupBy(
    answers.flatMap((parts) => parts ?? []),
    ({ destination }) => destination,
  );
  return destinations.map((_, i) => joined((heard.get(i) ?? []).map(({ route }) => route)));
}

/** Workers share the snapshot, so they differ in what they have seen of an endpoint only. */
function joined(routes: readonly RouteState[]): RouteState | undefined {
  const [first] = routes;
  if (first === undefined) return undefined;
  const endpoints = Map.groupBy(
    routes.flatMap((it) => it.endpoints),
    ({ name, address }) => `${name} ${address}`,
  );
  return { ...first, endpoints: [...endpoints.values()].map(joinedEndpoint) };
}

function joinedEndpoint(states: readonly EndpointState[]): EndpointState {
  return {
    ...states[0]!,
    isEligible: states.some(({ isEligible }) => isEligible),
    why: [...new Set(states.map(({ why }) => why))].join(" or, to another worker, "),
    openConnections: states.reduce((sum, { openConnections }) => sum + openConnections, 0),
  };
}
