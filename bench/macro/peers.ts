// The peers' configurations. `haproxy-tcp` and `nginx-stream` are as Debian installs them, but for what the comparison
// needs: one thread, TCP mode, one log line per connection as Culvert writes one. `haproxy-tcp-tuned` has what
// its manual offers for each kind of traffic (buffers, pipes, splicing, fewer packets), and logs nothing.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RunningProcess } from "../../test/netns/harness/running-process.ts";
import { echoPort, greetingPort, isListening, loggingTo, type Place, shortPort, sinkPort, until } from "./place.ts";
import type { Carrier, Subject } from "./subjects.ts";

const nginxModule = "/usr/lib/nginx/modules/ngx_stream_module.so";
const ports = [echoPort, sinkPort, shortPort, greetingPort];
/** Where the first of the place's applications is reached; the others follow. */
const applicationPort = 7100;

export const haproxyTcp: Subject = {
  name: "haproxy-tcp",
  missing: missingHaproxy,
  start: (place) =>
    startHaproxy(place, {
      global: ["log stdout format raw local0"],
      defaults: ["log global", "option tcplog", "option dontlognull"],
    }),
};

export const haproxyTcpTuned: Subject = {
  name: "haproxy-tcp-tuned",
  missing: missingHaproxy,
  start: (place) =>
    startHaproxy(place, {
      global: ["tune.pipesize 1048576", "maxpipes 256", "tune.bufsize 65536", "tune.maxpollevents 512"],
      defaults: ["option tcp-smart-accept", "option tcp-smart-connect"],
      // splice-auto seldom splices between namespaces; forced, it costs small messages more than it saves: sink only.
      sink: ["option splice-request", "option splice-response"],
    }),
};

export const nginxStream: Subject = {
  name: "nginx-stream",
  missing: () => (existsSync(nginxModule) ? undefined : "apt-get install nginx-light libnginx-mod-stream"),
  start: async (place) => {
    await place.mesh.up();
    const directory = place.mesh.directory;
    const configuration = join(directory, "nginx.conf");
    const log = place.logFile("nginx");
    const [first] = place.servers;
    const upstream = (name: string, servers: typeof place.servers, port: number) =>
      `  upstream ${name} { ${servers.map((server) => `server ${server.ipv4}:${port};`).join(" ")} }`;
    // Without it nginx drops the sink's count, which comes after the client's FIN.
    const listener = (port: number, name: string) =>
      `  server { listen 127.0.0.1:${port}; proxy_pass ${name}; proxy_half_close on; }`;
    const lines = [
      `load_module ${nginxModule};`,
      `daemon off; master_process off; pid ${join(directory, "nginx.pid")}; error_log stderr warn;`,
      "events { worker_connections 4096; }",
      "stream {",
      '  log_format connection "$remote_addr:$remote_port $upstream_addr $bytes_received $bytes_sent $session_time $status";',
      `  access_log ${log} connection;`,
      upstream("echo", [first!], echoPort),
      upstream("sink", [first!], sinkPort),
      upstream("short", place.servers, echoPort),
      upstream("greeting", place.servers, greetingPort),
      listener(echoPort, "echo"),
      listener(sinkPort, "sink"),
      listener(shortPort, "short"),
      listener(greetingPort, "greeting"),
      ...place.applications.flatMap(({ name, pod, port }, i) => [
        upstream(name, [pod], port),
        listener(applicationPort + i, name),
      ]),
      "}",
    ];
    writeFileSync(configuration, lines.join("\n"));
    const running = await place.client.start("nginx", "-p", directory, "-c", configuration, "-e", "stderr");
    return listening(place, running, log);
  },
};

interface HaproxyOptions {
  readonly global: readonly string[];
  readonly defaults: readonly string[];
  readonly sink?: readonly string[];
}

function missingHaproxy(): string | undefined {
  return existsSync("/usr/sbin/haproxy") ? undefined : "apt-get install haproxy";
}

async function startHaproxy(place: Place, options: HaproxyOptions): Promise<Carrier> {
  await place.mesh.up();
  const proxy = (
    name: string,
    port: number,
    servers: typeof place.servers,
    to: number,
    extra: readonly string[] = [],
  ) => [
    `listen ${name}`,
    `  bind 127.0.0.1:${port}`,
    ...extra.map((line) => `  ${line}`),
    ...servers.map((server) => `  server ${server.name} ${server.ipv4}:${to}`),
  ];
  const [first] = place.servers;
  const lines = [
    "global",
    ...["nbthread 1", "maxconn 4096", ...options.global].map((line) => `  ${line}`),
    "defaults",
    // The times are those of Debian's file.
    ...["mode tcp", "timeout connect 5000", "timeout client 50000", "timeout server 50000", ...options.defaults].map(
      (line) => `  ${line}`,
    ),
    ...proxy("echo", echoPort, [first!], echoPort),
    ...proxy("sink", sinkPort, [first!], sinkPort, options.sink),
    ...proxy("short", shortPort, place.servers, echoPort),
    ...proxy("greeting", greetingPort, place.servers, greetingPort),
    ...place.applications.flatMap(({ name, pod, port }, i) => proxy(name, applicationPort + i, [pod], port)),
  ];
  const configuration = join(place.mesh.directory, "haproxy.cfg");
  writeFileSync(configuration, `${lines.join("\n")}\n`);
  const log = place.logFile("haproxy");
  const [program, ...words] = loggingTo(log, ["haproxy", "-db", "-f", configuration]);
  return listening(place, await place.client.start(program, ...words), log);
}

async function listening(place: Place, running: RunningProcess, log: string): Promise<Carrier> {
  await until(() => isListening(place.client, ports), "the peer", running, log);
  const at = (port: number) => [`127.0.0.1:${port}`];
  const targets = {
    echo: at(echoPort),
    sink: at(sinkPort),
    short: at(shortPort),
    greeting: at(greetingPort),
    ...Object.fromEntries(place.applications.map(({ name }, i) => [name, at(applicationPort + i)])),
  };
  return { process: running, targets: () => targets };
}
