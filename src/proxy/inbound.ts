// The inbound pipeline: a connection arrived at a pod, not from this proxy.
//
//   captured plaintext (its own address is the original destination) -> connection to the application, source kept -> stream

import type { Connection, ConnectionHandler } from "../runtime/connection.ts";
import type { Accepted, Acceptor } from "../runtime/reactor.ts";
import { ApplicationRoute, type PodSources } from "./application-route.ts";
import type { ProxyContext } from "./context.ts";
import type { ProxiedPod } from "./proxied-pod.ts";
import { Stream } from "./stream.ts";

export class Inbound implements Acceptor {
  readonly #context: ProxyContext;
  readonly #pod: ProxiedPod;
  readonly #sources: PodSources;

  constructor(context: ProxyContext, pod: ProxiedPod, sources: PodSources) {
    this.#context = context;
    this.#pod = pod;
    this.#sources = sources;
  }

  onAccepted(connection: Connection, { peer, local }: Accepted): ConnectionHandler {
    const stream = new Stream(this.#context, "inbound", this.#pod, connection, peer, local);
    stream.connect(new ApplicationRoute(this.#context, this.#pod, this.#sources, peer, local));
    return connection.handler;
  }
}
