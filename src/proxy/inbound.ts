// The inbound pipeline: a connection arrived at a pod, not from this proxy.
//
//   captured plaintext (its own address is the original destination) -> connection to the application -> stream

import type { Accepted, Acceptor, Connection, ConnectionHandler } from "../runtime/reactor.ts";
import type { ProxiedPod, ProxyContext } from "./context.ts";
import { Stream } from "./stream.ts";

export class Inbound implements Acceptor {
  readonly #context: ProxyContext;
  readonly #pod: ProxiedPod;

  constructor(context: ProxyContext, pod: ProxiedPod) {
    this.#context = context;
    this.#pod = pod;
  }

  onAccepted(connection: Connection, accepted: Accepted): ConnectionHandler {
    const { w0, w1, w2, w3, port } = accepted.local;
    const stream = new Stream(this.#context, "inbound", this.#pod, connection, accepted.peer, accepted.local);
    stream.connect({
      service: undefined,
      endpoint: undefined,
      label: this.#pod.name,
      destination: accepted.local,
      netns: this.#pod.netns,
      transport: "local",
      protocol: this.#context.index.endpointAt(w0, w1, w2, w3, port)?.protocol,
    });
    return connection.handler;
  }
}
