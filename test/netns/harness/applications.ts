// Real applications as pods run them. Each knows nothing of Culvert.

import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Host } from "./host.ts";
import { tool } from "./tools.ts";

export interface Application {
  readonly name: string;
  /** It serves when it listens on all of them. */
  readonly ports: readonly number[];
  /** `directory` is the host's own. */
  command(host: Host, directory: string): Promise<readonly string[]> | readonly string[];
}

/** nginx: answers every request with `<host> <peer's address>:<peer's port> <own address>`. */
export function nginx(options: { port?: number; listen?: readonly string[]; isTls?: boolean } = {}): Application {
  const { port = 80, isTls = false } = options;
  const { listen = [`${port}`, `[::]:${port}`].map((address) => (isTls ? `${address} ssl` : address)) } = options;
  return {
    name: "nginx",
    ports: [port],
    command: async (host, directory) => {
      const own = join(directory, `nginx-${port}`);
      mkdirSync(own);
      if (isTls) await promisify(execFile)("openssl", selfSigned, { cwd: own });
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
      const lines = [
        "daemon off; master_process off; pid nginx.pid; error_log stderr warn;",
        "events { worker_connections 4096; multi_accept on; }",
        "http {",
        "  access_log off; keepalive_requests 1000000; default_type text/plain;",
        ...temporary.map((name) => `  ${name}_temp_path ${name};`),
        "  server {",
        ...listen.map((address) => `    listen ${address};`),
        ...(isTls ? ["    ssl_certificate cert.pem; ssl_certificate_key key.pem;"] : []),
        `    location / { return 200 "${host.name} $remote_addr:$remote_port $server_addr\\n"; }`,
        "  }",
        "}",
      ];
      writeFileSync(join(own, "nginx.conf"), lines.join("\n"));
      return ["nginx", "-p", own, "-c", join(own, "nginx.conf"), "-e", "stderr"];
    },
  };
}

const selfSigned = [
  ...["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=test"],
  ...["-keyout", "key.pem", "-out", "cert.pem"],
];

export function redis(port = 6379): Application {
  const options = { port, bind: "* -::*", "protected-mode": "no", save: "", appendonly: "no", loglevel: "warning" };
  return {
    name: "redis-server",
    ports: [port],
    command: (_, directory) => [
      "redis-server",
      "--dir",
      directory,
      ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]),
    ],
  };
}

/** Sends back what it receives, and a FIN for a FIN. `mark`: the listener's own. */
export function echo(port: number, mark = 0): Application {
  return { name: "echo", ports: [port], command: async () => [await tool("echo"), `${port}`, `${mark}`] };
}
