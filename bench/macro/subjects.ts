// What is measured: something that carries bytes from the client pod to the servers. Every proxy has one thread (Culvert:
// one worker). Peers listen on the client's loopback and are dialled directly, so that they have no more hops than what
// is captured: client, loopback, proxy, veth, server. README.md says how each is set up, and why.

import type { Pod } from "../../test/netns/harness/pod.ts";
import type { RunningProcess } from "../../test/netns/harness/running-process.ts";
import { culvertRelay } from "./culvert.ts";
import { haproxyTcp, haproxyTcpTuned, nginxStream } from "./peers.ts";
import { echoPort, greetingPort, type Place, sinkPort, type Targets } from "./place.ts";

export interface Carrier {
  readonly targets: (family: 4 | 6) => Targets;
  /** Of the proxy; undefined where there is none. */
  readonly process: RunningProcess | undefined;
  /** Connections that it has carried so far. For what captures: a connection that slips past it would flatter it. */
  readonly carried?: () => Promise<number>;
}

export interface Subject {
  readonly name: string;
  /** What is missing on this machine and how to get it; undefined when nothing is. */
  readonly missing?: () => string | undefined;
  /** Starts it in a place of its own; it ends with the place. */
  start(place: Place): Promise<Carrier>;
}

const unmeshed: Subject = {
  name: "unmeshed",
  start: async (place) => {
    await place.mesh.up();
    const at = (family: 4 | 6, port: number, pods: readonly Pod[] = place.servers) =>
      pods.map((pod) => (family === 4 ? `${pod.ipv4}:${port}` : `[${pod.ipv6}]:${port}`));
    return {
      process: undefined,
      targets: (family) => ({
        echo: at(family, echoPort).slice(0, 1),
        sink: at(family, sinkPort).slice(0, 1),
        short: at(family, echoPort),
        greeting: at(family, greetingPort),
        ...Object.fromEntries(place.applications.map(({ name, pod, port }) => [name, at(family, port, [pod])])),
      }),
    };
  },
};

export const subjects: readonly Subject[] = [unmeshed, culvertRelay, haproxyTcp, haproxyTcpTuned, nginxStream];
