// A process in a network namespace of the lab: dials and serves as an application does. Servers greet every connection
// with one line that says who they are and what they see, and close it.

import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { serveCalls } from "./calls.ts";
import { type Dialled, type DialRequest, endpoint, type Greeting } from "./greeting.ts";

const servers = new Map<number, net.Server>();

const functions = {
  async serve({ who, host, port }: { who: string; host: string; port: number }): Promise<void> {
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      const local = endpoint(socket.localAddress, socket.localPort);
      socket.end(`${JSON.stringify({ who, peer: endpoint(socket.remoteAddress, socket.remotePort), local })}\n`);
    });
    servers.set(port, server);
    server.listen({ host, port });
    await once(server, "listening");
  },

  async stopServing(port: number): Promise<void> {
    const server = servers.get(port);
    servers.delete(port);
    server?.close();
    if (server) await once(server, "close");
  },

  dial,

  async dialMany({ count, ...request }: DialRequest & { count: number }): Promise<Dialled[]> {
    return Promise.all(Array.from({ length: count }, () => dial(request)));
  },

  /** Dials one after another until `stopDialling`; every outcome is returned there. */
  async startDialling(request: DialRequest): Promise<void> {
    continues = true;
    outcomes = (async () => {
      const dialled: Dialled[] = [];
      while (continues) dialled.push(await dial(request));
      return dialled;
    })();
  },

  async stopDialling(): Promise<Dialled[]> {
    continues = false;
    return outcomes;
  },

  async dialUdp({ host, port }: DialRequest): Promise<string> {
    const socket = dgram.createSocket(net.isIPv6(host) ? "udp6" : "udp4");
    socket.connect(port, host);
    await once(socket, "connect");
    const { address, port: remotePort } = socket.remoteAddress();
    socket.close();
    return endpoint(address, remotePort);
  },
};
export type HostFunctions = typeof functions;

let continues = false;
let outcomes: Promise<Dialled[]> = Promise.resolve([]);

async function dial(request: DialRequest): Promise<Dialled> {
  const socket = net.connect({ autoSelectFamily: false, ...request });
  const dialled: Dialled = { greeting: undefined, local: "", peer: "" };
  let text = "";
  socket.setEncoding("utf8");
  socket.setTimeout(10_000, () => socket.destroy(new Error("ETIMEDOUT")));
  socket.on("connect", () => {
    dialled.local = endpoint(socket.localAddress, socket.localPort);
    dialled.peer = endpoint(socket.remoteAddress, socket.remotePort);
  });
  socket.on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    dialled.error = error.code ?? error.message;
  });
  await new Promise((resolve) => socket.on("close", resolve));
  if (text !== "") dialled.greeting = JSON.parse(text) as Greeting;
  return dialled;
}

serveCalls(functions);
