// Real servers of protocols in which the server speaks first, or the client with bytes that no proxy knows; and servers of
// HTTP/2 and HTTP/1 that speak before they were asked. Each keeps its state in the host's directory.

import { globSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Application } from "./applications.ts";

/** Runs the lines in the host's directory; the last one execs the server. */
function script(name: string, ports: readonly number[], lines: readonly string[]): Application {
  return {
    name,
    ports,
    command: (_, directory) => ["/bin/sh", "-ec", ['cd "$1"', ...lines].join("\n"), "sh", directory],
  };
}

/** OpenSSH: root may come with the key `client` of the host's directory. */
export function openssh(port = 22): Application {
  const options = [
    "UsePAM=no",
    "PermitRootLogin=yes",
    "StrictModes=no",
    "PidFile=none",
    "MaxStartups=1000",
    'AuthorizedKeysFile="$1/client.pub"',
  ];
  return script(
    "sshd",
    [port],
    [
      "mkdir -p /run/sshd", // compiled in
      "for key in server client; do ssh-keygen -q -t ed25519 -N '' -f $key; done",
      `exec /usr/sbin/sshd -D -e -f /dev/null -h "$1/server" -p ${port} ${options.map((it) => `-o ${it}`).join(" ")}`,
    ],
  );
}

/** Exim, the mail server of Debian: takes every message and keeps it in its queue. */
export function exim(port = 25): Application {
  const lines = [
    "primary_hostname = mail.test",
    "spool_directory = DIRECTORY/spool",
    "log_file_path = DIRECTORY/%slog",
    "pid_file_path = DIRECTORY/exim.pid",
    `daemon_smtp_ports = ${port}`,
    "local_interfaces = <; 0.0.0.0 ; ::0",
    "host_lookup =",
    "rfc1413_query_timeout = 0s",
    "tls_advertise_hosts =",
    "keep_environment =",
    "queue_only",
    "smtp_accept_max = 0",
    "acl_smtp_rcpt = accept",
  ];
  return {
    name: "exim4",
    ports: [port],
    command: (_, directory) => {
      const configuration = join(directory, "exim.conf");
      writeFileSync(configuration, `${lines.join("\n").replaceAll("DIRECTORY", directory)}\n`);
      const own = 'chown Debian-exim "$1"; exec exim4 -bdf -C "$1/exim.conf"';
      return ["/bin/sh", "-ec", own, "sh", directory];
    },
  };
}

/** Lets everyone in as `postgres`. It refuses to run as root. */
export function postgresql(port = 5432): Application {
  const [bin] = globSync("/usr/lib/postgresql/*/bin");
  const as = "setpriv --reuid=postgres --regid=postgres --clear-groups";
  const settings = ["listen_addresses='*'", `port=${port}`, "unix_socket_directories=", "fsync=off"];
  return script(
    "postgres",
    [port],
    [
      'chown postgres "$1"',
      `${as} ${bin}/initdb --auth=trust --no-sync --no-instructions data >/dev/null`,
      "echo 'host all all all trust' >>data/pg_hba.conf",
      `exec ${as} ${bin}/postgres -D data ${settings.map((it) => `-c ${it}`).join(" ")}`,
    ],
  );
}

/** Speaks MySQL's protocol: lets everyone in as `root`, and has no databases. */
export function mariadb(port = 3306): Application {
  const options = [
    ...["--no-defaults", "--user=root", "--skip-grant-tables", "--innodb=OFF", "--default-storage-engine=Aria"],
    ...['--datadir="$1"', '--socket="$1/socket"', '--pid-file="$1/pid"', `--port=${port}`, "--bind-address='*'"],
    // It blocks a client that often connects and says nothing, as a benchmark's does.
    ...["--skip-name-resolve", "--max-connect-errors=4294967295"],
  ];
  return script("mariadbd", [port], [`exec /usr/sbin/mariadbd ${options.join(" ")}`]);
}

/** HTTP/2 without TLS, by Node; its SETTINGS come before it has read anything. */
export function nodeHttp2(port = 80): Application {
  const program = `require("http2").createServer((_, response) => response.end("hello\\n")).listen(${port}, "::")`;
  return { name: "node:http2", ports: [port], command: () => [process.execPath, "-e", program] };
}

/** HTTP/2 without TLS, by nghttp2. */
export function nghttpd(port = 80): Application {
  return script("nghttpd", [port], ["echo hello >hello", `exec nghttpd --no-tls --htdocs="$1" ${port}`]);
}

/** HAProxy with a web page; it answers 408 to a client that is silent for that long. */
export function impatientHaproxy(requestTimeoutMs: number, port = 80): Application {
  const lines = [
    "defaults",
    `  mode http\n  timeout connect 5s\n  timeout server 5s\n  timeout client 60s\n  timeout http-request ${requestTimeoutMs}ms`,
    "frontend web",
    `  bind :::${port} v4v6`,
    "  http-request return status 200 content-type text/plain string hello",
  ];
  return {
    name: "haproxy",
    ports: [port],
    command: (_, directory) => {
      const configuration = join(directory, "haproxy.cfg");
      writeFileSync(configuration, `${lines.join("\n")}\n`);
      return ["haproxy", "-db", "-f", configuration];
    },
  };
}
