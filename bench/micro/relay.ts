// The upper layers of the layer-cost benchmark (layers.ts), each in a process of its own like a worker without its main
// thread. Usage: node relay.ts typescript|stream|proxy PORT TARGET_PORT
//
//   typescript  the reactor with the least handlers that relay
//   stream      a worker's proxy (src/proxy) that knows no service and neither logs nor counts
//   proxy       the same with 1,000 services, of which one is looked up and balanced, access log and counters

import { openSync, writeSync } from "node:fs";
import { changeOf } from "../../src/mesh/mesh-delta.ts";
import type { MeshSnapshot } from "../../src/mesh/snapshot.ts";
import { createSourcePorts } from "../../src/proxy/source-ports.ts";
import { WorkerProxy } from "../../src/proxy/worker-proxy.ts";
import type { Connection, ConnectionHandler, SocketWords } from "../../src/runtime/connection.ts";
import { statCount } from "../../src/runtime/layout.ts";
import { type Fd, native } from "../../src/runtime/native.ts";
import { type Acceptor, Reactor } from "../../src/runtime/reactor.ts";
import { createCounters, WorkerCounters } from "../../src/telemetry/counters.ts";
import { LineBatch } from "../../src/telemetry/log.ts";
import { service, snapshot, workload } from "../../test/unit/mesh/fixtures.ts";

const loopbackWord = 0x7f000001;
const serviceCount = 1_000;
const timeoutMs = 5_000;

const [layer, port, targetPort] = process.argv.slice(2);
const target: SocketWords = { w0: 0, w1: 0, w2: 0xffff, w3: loopbackWord, port: Number(targetPort) };
const { netns } = native.netns("open", { path: "/proc/self/ns/net" });
const { fd } = native.netns("listen", { netns, address: "127.0.0.1", port: Number(port), backlog: 4096 });

class Side implements ConnectionHandler {
  connection: Connection | undefined = undefined;
  peer: Side = this;
  ended = false;
  closed = false;

  onConnected(): void {
    this.peer.connection!.resume();
  }

  onData(connection: Connection, block: number, generation: number, offset: number, length: number): void {
    if (this.peer.closed) connection.reactor.release(block, generation);
    else this.peer.connection!.write(block, generation, offset, length, true);
  }

  onEnd(connection: Connection): void {
    this.ended = true;
    if (!this.peer.ended) {
      this.peer.connection!.shutdown();
      return;
    }
    this.peer.connection!.close(0);
    connection.close(0);
  }

  onBlocked(): void {
    this.peer.connection!.pause();
  }

  onDrained(): void {
    this.peer.connection!.resume();
  }

  onClosed(_: Connection, errno: number): void {
    this.closed = true;
    if (errno !== 0 && !this.peer.closed) this.peer.connection!.reset();
  }
}

class NoCounters extends WorkerCounters {
  override opened(): void {}
  override closed(): void {}
  override bytes(): void {}
}

/** Connections come as captured ones do: with the address that the client dialled. */
class CapturingReactor extends Reactor {
  original: SocketWords = target;

  override listen(listener: Fd, id: number, _map: Fd | undefined, acceptor: Acceptor): void {
    super.listen(listener, id, undefined, {
      onAccepted: (connection, accepted) => acceptor.onAccepted(connection, { ...accepted, original: this.original }),
    });
  }
}

function relayLeast(reactor: Reactor): void {
  reactor.listen(fd, 1, undefined, {
    onAccepted(connection) {
      const [downstream, upstream] = [new Side(), new Side()];
      downstream.peer = upstream;
      upstream.peer = downstream;
      downstream.connection = connection;
      connection.pause();
      upstream.connection = reactor.connect({ netns, destination: target, timeoutMs }, upstream);
      return downstream;
    },
  });
}

function relayAsProxy(
  reactor: CapturingReactor,
  mesh: MeshSnapshot,
  counters: WorkerCounters,
  logConnection: ((line: string) => void) | undefined,
): void {
  const proxy = new WorkerProxy({
    reactor,
    counters,
    connectTimeoutMs: timeoutMs,
    detectTimeoutMs: timeoutMs,
    sourcePorts: createSourcePorts(),
    random: Math.random,
    now: Date.now,
    bypassMap: -1 as Fd,
    onSourceRewritten: () => {},
    logConnection,
    logEvent: () => {},
  });
  for (const delta of changeOf(undefined, mesh).additions) proxy.applyDelta(delta);
  const pod = { id: 1, name: "default/client", netns, keepsSources: false };
  proxy.addPod(pod, [{ id: 1, direction: "outbound", fd }], -1 as Fd);
}

function serviceAddress(i: number): string {
  return `10.96.${i >> 8}.${i & 0xff}`;
}

/** All lead to the same server. */
function thousandServices(): MeshSnapshot {
  const names = Array.from({ length: serviceCount }, (_, i) => `s${i}`);
  const ports = [{ port: 80, targetPort: Number(targetPort) }];
  const services = names.map((name, i) => service(name, [serviceAddress(i)], ["server"], { ports }));
  return snapshot([workload("server", ["127.0.0.1"])], services);
}

// Last: classes are not there before they are defined.
const reactor = new CapturingReactor({
  blocks: 4096,
  worker: 0,
  poison: false,
  stats: new Float64Array(new SharedArrayBuffer(statCount * Float64Array.BYTES_PER_ELEMENT)),
});
switch (layer) {
  case "typescript":
    relayLeast(reactor);
    break;
  case "stream":
    relayAsProxy(reactor, snapshot([], []), new NoCounters(createCounters(1), 0), undefined);
    break;
  case "proxy": {
    const log = openSync("/dev/null", "w");
    const batch = new LineBatch((lines) => writeSync(log, lines));
    const middle = serviceCount >> 1;
    reactor.original = { w0: 0, w1: 0, w2: 0xffff, w3: 0x0a600000 + middle, port: 80 };
    relayAsProxy(reactor, thousandServices(), new WorkerCounters(createCounters(1), 0), (line) => batch.add(line));
    break;
  }
  default:
    throw new Error(`unknown layer ${layer}: typescript, stream or proxy`);
}
