// The node's admin HTTP: a UNIX socket that only its owner may open, with all pages, and, if wanted, a TCP address for
// Prometheus and probes: who can reach that may be anybody, so it has /metrics, /ready and /live and nothing that names a
// connection or changes anything. It runs on the main thread and never sees a proxied byte.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { culvertError } from "../telemetry/errors.ts";
import { claimSocketPath, listenPrivately } from "./admin-socket.ts";

export interface AdminOptions {
  /** Path of the UNIX socket; its directory is made if missing. */
  readonly socket: string;
  readonly address: { readonly host: string; readonly port: number } | undefined;
  readonly metrics: () => Promise<string>;
  /** Asked on every request, as the next. */
  readonly readiness: () => Health;
  /** Not live: only a restart helps. */
  readonly liveness: () => Health;
  /** By path, of the UNIX socket alone: JSON. */
  readonly pages: ReadonlyMap<string, Page>;
}

export interface Health {
  readonly ok: boolean;
  /** Why not. */
  readonly reason: string;
  /** What else is to be known. */
  readonly note?: string | undefined;
}

export interface Page {
  /** What is answered as JSON. Throws a PageRefusal. */
  get(query: URLSearchParams): unknown;
  /** The same, of a request to change something. undefined: read-only. */
  put?: (query: URLSearchParams) => unknown;
}

/** An answer that is no page: a status from 400 on and what the user is told. */
export class PageRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "PageRefusal";
    this.status = status;
  }
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
  /** Of a 405. */
  readonly allow?: string;
}
interface Route {
  get(query: URLSearchParams): Answer | Promise<Answer>;
  put?: (query: URLSearchParams) => Answer | Promise<Answer>;
}

const plainText = "text/plain; charset=utf-8";
const jsonText = "application/json";
/** The Prometheus text format. */
const metricsText = "text/plain; version=0.0.4; charset=utf-8";
/** Scrapers and probes need a few; a flood must not eat the descriptors that traffic needs. */
const maxConnections = 64;

/** Throws a CulvertError, with nothing left listening, if either place cannot be had. */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const publicRoutes: [string, Route][] = [
    ["/metrics", { get: async () => ({ status: 200, type: metricsText, body: await options.metrics() }) }],
    ["/ready", { get: () => healthAnswer("ready", options.readiness()) }],
    ["/live", { get: () => healthAnswer("live", options.liveness()) }],
  ];
  const pages = [...options.pages].map(([path, page]): [string, Route] => [path, jsonRoute(page)]);
  const newServer = (routes: ReadonlyMap<string, Route>) => {
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
      void answer(routes, request, response);
    });
    server.maxConnections = maxConnections;
    return server;
  };
  await claimSocketPath(options.socket);
  const unixServer = newServer(new Map([...publicRoutes, ...pages]));
  await listenPrivately(unixServer, options.socket);
  if (options.address === undefined) return { address: undefined, close: () => closeServer(unixServer) };
  const tcpServer = newServer(new Map(publicRoutes));
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
  const { status, type, body, allow } = await choose(routes, request);
  const length = Buffer.byteLength(body);
  response.writeHead(status, { "content-type": type, "content-length": length, ...(allow && { allow }) });
  response.end(body);
}

async function choose(routes: ReadonlyMap<string, Route>, request: IncomingMessage): Promise<Answer> {
  const [path, query] = splitUrl(request.url ?? "/");
  const route = routes.get(path);
  if (route === undefined) {
    const known = [...routes.keys()].map((it) => `  ${it}\n`).join("");
    return { status: 404, type: plainText, body: `no such page; there are:\n${known}` };
  }
  const { method } = request;
  const act = method === "GET" || method === "HEAD" ? route.get : method === "PUT" ? route.put : undefined;
  if (act === undefined) {
    const isReadOnly = route.put === undefined;
    const body = `${path} ${isReadOnly ? "is read-only: GET it" : "takes GET and PUT"}\n`;
    return { status: 405, type: plainText, body, allow: isReadOnly ? "GET, HEAD" : "GET, HEAD, PUT" };
  }
  try {
    return await act(query);
  } catch (error) {
    if (error instanceof PageRefusal) return { status: error.status, type: plainText, body: `${error.message}\n` };
    const reason = error instanceof Error ? error.message : error;
    return { status: 500, type: plainText, body: `answer ${path}: ${reason}\n` };
  }
}

function splitUrl(url: string): [path: string, query: URLSearchParams] {
  const at = url.indexOf("?");
  return at < 0 ? [url, new URLSearchParams()] : [url.slice(0, at), new URLSearchParams(url.slice(at + 1))];
}

function healthAnswer(word: string, { ok, reason, note }: Health): Answer {
  const body = `${ok ? word : reason}\n${note === undefined ? "" : `${note}\n`}`;
  return { status: ok ? 200 : 503, type: plainText, body };
}

function jsonRoute(page: Page): Route {
  const { put } = page;
  const answerOf = async (value: unknown): Promise<Answer> => ({
    status: 200,
    type: jsonText,
    body: `${JSON.stringify(await value)}\n`,
  });
  return {
    get: (query) => answerOf(page.get(query)),
    ...(put && { put: (query: URLSearchParams) => answerOf(put(query)) }),
  };
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
