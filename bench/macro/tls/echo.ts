// Culvert's reactor as a server that echoes over TLS: what the benchmark measures of it. Usage: echo.ts <dir>
// Prints its port.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Connection, ConnectionHandler, TlsHandler } from "../../../src/runtime/connection.ts";
import { statCount } from "../../../src/runtime/layout.ts";
import { native } from "../../../src/runtime/native.ts";
import { Reactor } from "../../../src/runtime/reactor.ts";

const directory = process.argv[2]!;
const read = (name: string) => readFileSync(join(directory, name));
const certificate = (name: string) => new X509Certificate(read(name)).raw;

native.setTlsContext(1, {
  certificateChain: [certificate("chain.pem")],
  key: createPrivateKey(read("key.pem")).export({ format: "der", type: "pkcs8" }),
  roots: [certificate("root.pem")],
  protocols: ["h2"],
  requiresPeerCertificate: true,
  isHybrid: false,
  keyUpdateRecords: 2 ** 23,
});

const echo: ConnectionHandler & TlsHandler = {
  onTlsEstablished: (connection) => connection.acceptPeer(),
  onConnected() {},
  onData(connection, block, generation, offset, length) {
    connection.write(block, generation, offset, length, true);
  },
  onEnd: (connection) => connection.close(0),
  onBlocked: (connection) => connection.pause(),
  onDrained: (connection) => connection.resume(),
  onClosed() {},
};

const reactor = new Reactor({ blocks: 4096, worker: 0, poison: false, stats: new Float64Array(statCount) });
const { netns } = native.netns("open", { path: "/proc/self/ns/net" });
const { fd, port } = listen();
const tls = { context: 1, isServer: true, protocols: 1, timeoutMs: 10_000 };
reactor.listen(fd, 1, undefined, {
  onAccepted(connection: Connection) {
    connection.startTls(tls, echo);
    return echo;
  },
});
console.log(port);

function listen() {
  for (let port = 20_000 + (process.pid % 10_000); ; port++) {
    try {
      return { ...native.netns("listen", { netns, address: "127.0.0.1", port, backlog: 1024 }), port };
    } catch (error) {
      if ((error as { errno?: string }).errno !== "EADDRINUSE") throw error;
    }
  }
}
