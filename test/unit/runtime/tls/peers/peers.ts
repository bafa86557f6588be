// Other implementations of TLS as processes: openssl, Go, HAProxy. They end with the test that started them.

import {
  type ChildProcess,
  type ChildProcessWithoutNullStreams,
  execFileSync,
  spawn,
  spawnSync,
} from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../../../free-port.ts";
import type { Loopback } from "../../reactor-fixture.ts";
import { chainPem, type Identity, keyPem, pemOf } from "../certificates.ts";
import { mesh } from "../tls-fixture.ts";

/** chain.pem, key.pem, both.pem and root.pem of an identity, in a directory of their own. */
export class Credentials implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "culvert-tls-"));

  constructor(identity: Identity, root: Uint8Array = mesh.root) {
    this.#write("chain.pem", chainPem(identity));
    this.#write("key.pem", keyPem(identity));
    this.#write("both.pem", chainPem(identity) + keyPem(identity));
    this.#write("root.pem", pemOf("CERTIFICATE", root));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  #write(name: string, text: string): void {
    writeFileSync(this.path(name), text, { mode: 0o600 });
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

/** A process, everything it has said, and a way to wait for more. */
export class Peer implements Disposable {
  readonly process: ChildProcessWithoutNullStreams;
  output = "";
  #wake: (() => void) | undefined;

  constructor(program: string, options: readonly string[]) {
    this.process = spawn(program, options, { stdio: ["pipe", "pipe", "pipe"] });
    this.process.stdin.on("error", () => {});
    const take = (chunk: Buffer) => {
      this.output += chunk.toString("latin1");
      this.#wake?.();
    };
    this.process.stdout.on("data", take);
    this.process.stderr.on("data", take);
    this.process.on("exit", () => this.#wake?.());
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (this.hasExited) throw new Error(`${this.process.spawnfile} ended without ${pattern}:\n${this.output}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  get hasExited(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  [Symbol.dispose](): void {
    this.process.kill("SIGKILL");
  }
}

/** `openssl s_client` or `s_server` with these credentials; mutual, TLS 1.3 only, and it prints each message. */
export function openssl(role: "s_client" | "s_server", credentials: Credentials, options: readonly string[]): Peer {
  const [cert, key, root] = ["chain.pem", "key.pem", "root.pem"].map((name) => credentials.path(name));
  const common = ["-cert", cert!, "-key", key!, "-CAfile", root!];
  return new Peer("openssl", [role, ...common, "-tls1_3", "-alpn", "h2", "-verify_return_error", "-msg", ...options]);
}

/** The Go program, built once. */
export function goPeer(): string {
  const source = fileURLToPath(new URL("peer.go", import.meta.url));
  const directory = fileURLToPath(new URL("../../../../../build/test/", import.meta.url));
  const hash = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 16);
  const program = join(directory, `tls-peer-${hash}`);
  if (!existsSync(program)) {
    mkdirSync(directory, { recursive: true });
    const go = ["/usr/local/go/bin/go", "/usr/bin/go"].find((path) => existsSync(path)) ?? "go";
    execFileSync(go, ["build", "-o", program, source], {
      env: { ...process.env, GO111MODULE: "off", GOTOOLCHAIN: "local" },
    });
  }
  return program;
}

/** As programs write it. */
export function hostAndPort(address: Loopback, port: number): string {
  return address === "::1" ? `[${address}]:${port}` : `${address}:${port}`;
}

/** HAProxy in TCP mode: terminates TLS on `secure` towards `plainTarget`, and originates it from `plain` towards `secureTarget`. */
export async function haproxy(credentials: Credentials, address: Loopback, targets: { plain: number; secure: number }) {
  const [secure, plain] = [await freePort(), await freePort()];
  const tls = (how: string) =>
    `ssl crt ${credentials.path("both.pem")} ca-file ${credentials.path("root.pem")} verify required ${how} alpn h2`;
  const config = `
global
  nbthread 1
  stats socket ${credentials.path("stats.sock")}
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen terminates
  bind ${hostAndPort(address, secure)} ${tls("ssl-min-ver TLSv1.3")}
  server plain ${hostAndPort(address, targets.plain)}
listen originates
  bind ${hostAndPort(address, plain)}
  server secure ${hostAndPort(address, targets.secure)} ${tls("ssl-min-ver TLSv1.3")}
`;
  writeFileSync(credentials.path("haproxy.cfg"), config);
  const { status, stdout, stderr } = spawnSync("haproxy", ["-c", "-f", credentials.path("haproxy.cfg")], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`haproxy -c: ${stdout}${stderr}`);
  const peer = new Peer("haproxy", ["-db", "-f", credentials.path("haproxy.cfg")]);
  while (!existsSync(credentials.path("stats.sock"))) {
    if (peer.hasExited) throw new Error(`haproxy: ${peer.output}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { secure, plain, [Symbol.dispose]: () => peer[Symbol.dispose]() };
}

export type { ChildProcess };
