// Who is measured at TLS: servers on loopback that echo over mutual TLS 1.3, each a process with one thread.

import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../../test/free-port.ts";
import { Running, startPeer } from "./peer.ts";

export interface TlsServer {
  readonly port: number;
  /** Whose CPU time is the subject's. */
  readonly pid: number;
}

export interface TlsSubject {
  readonly name: string;
  readonly missing?: () => string | undefined;
  /** `directory` has the credentials. What is started is handed to `stack`. */
  start(directory: string, stack: DisposableStack): Promise<TlsServer>;
}

/** peer.cc: Node's OpenSSL and epoll, nothing else. */
const minimal: TlsSubject = {
  name: "minimal-c",
  async start(directory, stack) {
    const running = stack.use(await startPeer("serve", directory));
    return { port: Number(await running.line()), pid: running.pid };
  },
};

/** echo.ts: the reactor, with TypeScript between reading and writing. */
const culvert: TlsSubject = {
  name: "culvert-echo",
  async start(directory, stack) {
    const running = stack.use(new Running(process.execPath, [join(import.meta.dirname, "echo.ts"), directory]));
    return { port: Number(await running.line()), pid: running.pid };
  },
};

/** Cannot echo: it ends TLS (with the distribution's OpenSSL, 3.0 in Debian 12) before peer.cc's plain echo, a hop that its CPU time leaves out. */
const haproxy: TlsSubject = {
  name: "haproxy-tls",
  missing: () => (existsSync("/usr/sbin/haproxy") ? undefined : "apt-get install haproxy"),
  async start(directory, stack) {
    const plain = stack.use(await startPeer("plain"));
    const target = await plain.line();
    const port = await freePort();
    const path = (name: string) => join(directory, name);
    writeFileSync(
      path("haproxy.cfg"),
      `
global
  nbthread 1
  tune.ssl.default-dh-param 2048
  stats socket ${path("haproxy.sock")}
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen tls
  bind 127.0.0.1:${port} ssl crt ${path("both.pem")} ca-file ${path("root.pem")} verify required alpn h2 ssl-min-ver TLSv1.3 no-tls-tickets curves X25519:P-256 ciphersuites TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256
  server plain 127.0.0.1:${target}
`,
    );
    const checked = spawnSync("haproxy", ["-c", "-f", path("haproxy.cfg")], { encoding: "utf8" });
    if (checked.status !== 0) throw new Error(`haproxy -c: ${checked.stdout}${checked.stderr}`);
    const running = stack.use(new Running("haproxy", ["-db", "-f", path("haproxy.cfg")]));
    while (!existsSync(path("haproxy.sock"))) {
      if (running.process.exitCode !== null) throw new Error("haproxy ended");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return { port, pid: running.pid };
  },
};

export const tlsSubjects: readonly TlsSubject[] = [minimal, culvert, haproxy];
