// The outbound pipeline: a pod connects out.
//
//   captured connection -> original destination -> service | workload | unknown -> balance -> same node or plain -> stream

import { familyOf } from "../mesh/address.ts";
import { labelOf } from "../mesh/snapshot.ts";
import type { Connection, ConnectionHandler } from "../runtime/connection.ts";
import type { Accepted, Acceptor } from "../runtime/reactor.ts";
import type { ProxyContext } from "./context.ts";
import { decide, transportTo } from "./decide.ts";
import type { ProxiedPod } from "./proxied-pod.ts";
import { ServiceRoute } from "./service-route.ts";
import { Stream } from "./stream.ts";

export class Outbound implements Acceptor {
  readonly #context: ProxyContext;
  readonly #pod: ProxiedPod;

  constructor(context: ProxyContext, pod: ProxiedPod) {
    this.#context = context;
    this.#pod = pod;
  }

  onAccepted(connection: Connection, accepted: Accepted): ConnectionHandler {
    const context = this.#context;
    // The reactor resets connections to the outbound port that have no record.
    const original = accepted.original!;
    const stream = new Stream(context, "outbound", this.#pod, connection, accepted.peer, original);
    const decision = decide(context.index, original);
    if (decision.to === "service") {
      const { service } = decision;
      const route = ServiceRoute.from(context, this.#pod, accepted.peer, original, service);
      if (route === undefined) stream.refuseService(service.name);
      else stream.connect(route);
      return connection.handler;
    }

    const { w0, w1, w2, w3, port } = original;
    const workload = decision.to === "workload" ? decision.workload : undefined;
    const label = workload === undefined ? undefined : labelOf(workload);
    const transport = transportTo(workload, context.node);
    stream.connect({
      service: undefined,
      label,
      destination: original,
      netns: this.#pod.netns,
      transport,
      pair: transport === "local" ? context.sameNode.pair(this.#pod, label!, familyOf(w0, w1, w2)) : undefined,
      protocol: context.index.endpointAt(w0, w1, w2, w3, port)?.protocol,
    });
    return connection.handler;
  }
}
