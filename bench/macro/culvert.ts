// Culvert as a subject: one worker, client and servers enrolled, access log on. The client dials services' addresses.

import { mkdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { writeMeshFile } from "../../test/netns/harness/mesh-file.ts";
import { Metrics } from "../../test/netns/harness/metrics.ts";
import { RunningProcess } from "../../test/netns/harness/running-process.ts";
import { projectRoot } from "../../test/netns/harness/tools.ts";
import { echoPort, greetingPort, loggingTo, type Place, sinkPort, until } from "./place.ts";
import type { Subject } from "./subjects.ts";

export const culvertRelay: Subject = {
  name: "culvert-relay",
  start: async (place) => {
    const { mesh, servers } = place;
    const [first] = servers;
    const echo = mesh.service("echo", { port: echoPort, endpoints: [first!] });
    const sink = mesh.service("sink", { port: sinkPort, endpoints: [first!] });
    const short = mesh.service("short", { port: echoPort, endpoints: servers });
    const greeting = mesh.service("greeting", { port: greetingPort, endpoints: servers });
    const applications = place.applications.map(({ name, pod, port }) =>
      mesh.service(`${name}-service`, { port, endpoints: [pod] }),
    );
    await mesh.up();
    const meshFile = join(mesh.directory, "mesh.yaml");
    const socket = join(mesh.directory, "admin.sock");
    writeMeshFile(meshFile, {
      node: "node",
      cgroups: { pods: place.node.podsCgroup, proxy: join(mesh.cgroup, "proxy") },
      socket,
      pins: place.node.pins,
      pods: place.node.pods,
      services: new Map([echo, sink, short, greeting, ...applications].map((service) => [service.name, service])),
      options: { workers: 1 },
    });
    return {
      process: await start(place, meshFile),
      carried: () => openedOutbound(socket),
      targets: (family) => {
        const at = (service: typeof echo) => [
          family === 4 ? `${service.ipv4}:${service.port}` : `[${service.ipv6}]:${service.port}`,
        ];
        return {
          echo: at(echo),
          sink: at(sink),
          short: at(short),
          greeting: at(greeting),
          ...Object.fromEntries(place.applications.map(({ name }, i) => [name, at(applications[i]!)])),
        };
      },
    };
  },
};

async function start(place: Place, meshFile: string): Promise<RunningProcess> {
  const log = place.logFile("culvert");
  const command = loggingTo(log, [join(projectRoot, "bin/culvert"), "node", "--config", meshFile]);
  const cgroup = join(place.mesh.cgroup, "culvert");
  mkdirSync(cgroup);
  // In the caller's own namespace: its sockets belong to the pods' namespaces wherever the process is.
  const running = new RunningProcess("culvert", command, { cgroup });
  await until(() => readFileSync(log, "utf8").includes('"msg":"ready"'), "culvert", running, log);
  return running;
}

function openedOutbound(socketPath: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: "/metrics", agent: false }, (response) => {
      const count = (body: string) =>
        new Metrics(body).sum("culvert_connections_opened_total", { direction: "outbound" });
      text(response).then((body) => resolve(count(body)), reject);
    });
    sent.on("error", reject);
    sent.end();
  });
}
