// The demo's world: two nodes in two zones, each with real applications that know nothing of Culvert.

import { globSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nginx, redis } from "../netns/harness/applications.ts";
import type { Host } from "../netns/harness/host.ts";
import type { Mesh } from "../netns/harness/mesh.ts";
import type { MeshNode } from "../netns/harness/mesh-node.ts";
import type { Pod } from "../netns/harness/pod.ts";
import type { RunningProcess } from "../netns/harness/running-process.ts";
import { exim, openssh, postgresql } from "../netns/harness/server-first.ts";
import type { Service } from "../netns/harness/service.ts";

export interface World {
  readonly mesh: Mesh;
  readonly a: MeshNode;
  readonly b: MeshNode;
  readonly client: Pod;
  /** `web`'s endpoints: the first two on the client's node, the third on the other. */
  readonly webs: readonly Pod[];
  readonly web: Service;
  readonly cache: Service;
  readonly database: Service;
  readonly shell: Service;
  readonly mail: Service;
  readonly modern: Service;
  /** The mesh knows nothing of it. */
  readonly website: Host;
}

export function declareWorld(mesh: Mesh): World {
  const [a, b] = [mesh.node("a", { zone: "one" }), mesh.node("b", { zone: "two" })];
  const client = a.pod("client");
  const webs = [a.pod("web-1"), a.pod("web-2"), b.pod("web-3")];
  // Its web server is started by `startWeb`, so that it can be killed.
  webs.slice(1).map((pod) => pod.serve(nginx()));
  const six = b.pod("six", { families: [6] }).serve(nginx({ listen: ["[::]:80 ipv6only=on"] }));
  return {
    mesh,
    a,
    b,
    client,
    webs,
    web: mesh.service("web", { port: 80, endpoints: webs }),
    cache: mesh.service("cache", { port: 6379, endpoints: [a.pod("redis").serve(redis())] }),
    database: mesh.service("database", { port: 5432, endpoints: [b.pod("postgres").serve(postgresql())] }),
    shell: mesh.service("shell", { port: 22, endpoints: [a.pod("sshd").serve(openssh())] }),
    mail: mesh.service("mail", { port: 25, endpoints: [b.pod("exim").serve(exim())] }),
    modern: mesh.service("modern", { port: 80, endpoints: [six] }),
    website: a.outside("website").serve(nginx()),
  };
}

/** Starts the web server of `web-1`. */
export async function startWeb({ webs }: World, directory: string): Promise<RunningProcess> {
  const pod = webs[0]!;
  const application = nginx();
  const [program, ...args] = await application.command(pod, directory);
  const running = await pod.start(program!, ...args);
  await pod.untilListening(running, application.ports);
  return running;
}

/** The clients of the other protocols: how a user would type it, and what to run. */
export function otherClients(world: World): readonly { service: Service; typed: string; words: readonly string[] }[] {
  const { mesh, cache, database, shell, mail, modern } = world;
  const message = join(mesh.directory, "message");
  writeFileSync(message, "Subject: hello\n\nhello\n");
  const [key] = globSync(join(mesh.directory, "sshd", "client"));
  const sshOptions = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"];
  return [
    {
      service: cache,
      typed: `redis-cli -h ${cache.ipv4} incr visits`,
      words: ["redis-cli", "-h", cache.ipv4, "incr", "visits"],
    },
    {
      service: database,
      typed: `psql -h ${database.ipv6} -c "select 'PostgreSQL on node b'"`,
      words: ["psql", "-h", database.ipv6, "-U", "postgres", "-tAc", "select 'PostgreSQL on node b'"],
    },
    {
      service: shell,
      typed: `ssh root@${shell.ipv4} echo hello from sshd`,
      words: [
        ...["ssh", "-F", "/dev/null", "-i", key ?? "", ...sshOptions.flatMap((it) => ["-o", it])],
        ...[`root@${shell.ipv4}`, "echo hello from sshd"],
      ],
    },
    {
      service: mail,
      typed: `curl smtp://${mail.ipv4}/ --upload-file message`,
      words: [
        ...["curl", "-sS", "--mail-from", "a@test", "--mail-rcpt", "b@test", "--upload-file", message],
        ...["-w", "taken, SMTP code %{response_code}", `smtp://${mail.ipv4}/client.test`],
      ],
    },
    {
      service: modern,
      typed: `curl http://[${modern.ipv6}]/   # a server that has IPv6 only, on node b`,
      words: ["curl", "-sS", `http://[${modern.ipv6}]/`],
    },
  ];
}
