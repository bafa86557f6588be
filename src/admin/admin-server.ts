// The node's admin HTTP: a UNIX socket that only its owner may open and, if wanted, a TCP address for Prometheus and
// probes. Read-only. It runs on the main thread and never sees a proxied byte.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { culvertError } from "../telemetry/errors.ts";
import { claimSocketPath, listenPrivately } from "./admin-socket.ts";

export interface AdminOptions {
  /** Path of the UNIX socket; its directory is made if missing. */
  readonly socket: string;
  readonly address: { readonly host: string; readonly port: number } | undefined;
  readonly metrics: () => Promise<string>;
  /** Asked on every request. `reason` says why not ready. */
  readonly readiness: () => { readonly ready: boolean; readonly reason: string };
}

export interface AdminServer {
  /** Where the TCP server listens: the port that was chosen when 0 was asked for. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  /** Ends open requests and removes the socket. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}
type Route = () => Answer | Promise<Answer>;

const plainText = "text/plain; charset=utf-8";
/** The Prometheus text format. */
const metricsText = "text/plain; version=0.0.4; charset=utf-8";
/** Scrapers and probes need a few; a flood must not eat the descriptors that traffic needs. */
const maxConnections = 64;

/** Throws a CulvertError, with nothing left listening, if either place cannot be had. */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const routes = new Map<string, Route>([
    ["/metrics", async () => ({ status: 200, type: metricsText, body: await options.metrics() })],
    ["/ready", () => readyAnswer(options.readiness())],
  ]);
  const newServer = () => {
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
      void answer(routes, request, response);
    });
    server.maxConnections = maxConnections;
    return server;
  };
  await claimSocketPath(options.socket);
  const unixServer = newServer();
  await listenPrivately(unixServer, options.socket);
  if (options.address === undefined) return { address: undefined, close: () => closeServer(unixServer) };
  const tcpServer = newServer();
  try {
    const address = await listenTcp(tcpServer, options.address);
    return { address, close: async () => void (await Promise.all([closeServer(unixServer), closeServer(tcpServer)])) };
  } catch (error) {
    await closeServer(unixServer);
    throw error;
  }
}

async function answer(
  routes: ReadonlyMap<string, Route>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, type, body } = await choose(routes, request);
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    ...(status === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(body);
}

async function choose(routes: ReadonlyMap<string, Route>, request: IncomingMessage): Promise<Answer> {
  const path = (request.url ?? "/").split("?", 1)[0]!;
  const route = routes.get(path);
  if (route === undefined) {
    const known = [...routes.keys()].map((it) => `  ${it}\n`).join("");
    return { status: 404, type: plainText, body: `no such page; there are:\n${known}` };
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return { status: 405, type: plainText, body: `${path} is read-only: GET it\n` };
  }
  try {
    return await route();
  } catch (error) {
    return {
      status: 500,
      type: plainText,
      body: `answer ${path}: ${error instanceof Error ? error.message : error}\n`,
    };
  }
}

function readyAnswer({ ready, reason }: { ready: boolean; reason: string }): Answer {
  return { status: ready ? 200 : 503, type: plainText, body: `${ready ? "ready" : reason}\n` };
}

function listenTcp(server: Server, address: { host: string; port: number }): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      const place = address.host.includes(":")
        ? `[${address.host}]:${address.port}`
        : `${address.host}:${address.port}`;
      reject(culvertError("ADMIN_ADDRESS_UNAVAILABLE", { address: place, reason: cause.message }, cause));
    });
    server.listen({ ...address, exclusive: true }, () => {
      resolve({ host: address.host, port: (server.address() as AddressInfo).port });
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
