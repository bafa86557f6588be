// Server-first protocols never wait. The detection time-out is an hour: whatever waited for it would not end.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Application } from "./harness/applications.ts";
import type { Host } from "./harness/host.ts";
import { Mesh } from "./harness/mesh.ts";
import { exim, mariadb, openssh, postgresql } from "./harness/server-first.ts";

const hourSeconds = 3600;

interface Case {
  readonly title: string;
  readonly port: number;
  readonly server: () => Application;
  /** Uses the server at that address; its answer must be the expected one. `directory`: the server's own. */
  readonly use: (client: Host, address: string, directory: string) => Promise<string>;
  readonly expected: RegExp;
  /** How it may be seen. A client that speaks at once may be seen before its server, which does too. */
  readonly by: readonly string[];
}

const bracketed = (address: string) => (address.includes(":") ? `[${address}]` : address);

const cases: readonly Case[] = [
  {
    title: "OpenSSH",
    port: 22,
    server: openssh,
    use: (client, address, directory) => {
      const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"];
      const key = ["-F", "/dev/null", "-i", join(directory, "client")];
      return client.run(
        "ssh",
        ...key,
        ...options.flatMap((it) => ["-o", it]),
        `root@${address}`,
        "echo hello from ssh",
      );
    },
    expected: /^hello from ssh$/,
    by: ["server_first", "detected"],
  },
  {
    title: "SMTP (Exim)",
    port: 25,
    server: exim,
    use: (client, address, directory) => {
      const message = join(directory, "message");
      writeFileSync(message, "Subject: hello\n\nhello\n");
      const mail = ["--mail-from", "a@test", "--mail-rcpt", "b@test", "--upload-file", message];
      return client.run("curl", "-sS", "-v", "--stderr", "-", ...mail, `smtp://${bracketed(address)}/client.test`);
    },
    expected: /< 220 mail\.test ESMTP Exim[\s\S]*< 250 OK id=/,
    by: ["server_first"],
  },
  {
    title: "MySQL's protocol (MariaDB)",
    port: 3306,
    server: mariadb,
    use: (client, address) =>
      client.run("mariadb", "--no-defaults", "-h", address, "-u", "root", "-BN", "-e", "select 6 * 7"),
    expected: /^42$/,
    by: ["server_first"],
  },
  {
    title: "PostgreSQL",
    port: 5432,
    server: postgresql,
    use: (client, address) => client.run("psql", "-h", address, "-U", "postgres", "-tAc", "select 6 * 7"),
    expected: /^42$/,
    by: ["detected"],
  },
];

for (const { title, port, server, use, expected, by } of cases) {
  test(`${title} works with a detection time-out of an hour, outbound and inbound, over IPv4 and IPv6`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const [client, outside] = [node.pod("client"), node.outside("laptop")];
    const serving = node.pod("server").serve(server());
    const service = mesh.service("server", { port, endpoints: [serving] });
    const culvert = await node.culvert({ detectTimeoutSeconds: hourSeconds });
    const directory = join(mesh.directory, serving.name);

    for (const address of [service.ipv4, service.ipv6]) assert.match(await use(client, address, directory), expected);
    for (const address of [serving.ipv4, serving.ipv6]) assert.match(await use(outside, address, directory), expected);
    for (const direction of ["outbound", "inbound"]) {
      for (const seen of await culvert.connections(2, (it) => it.direction === direction)) {
        assert.equal(seen.protocol, "opaque");
        assert.ok(by.includes(seen.protocolBy), `${direction}: by ${seen.protocolBy}`);
      }
    }
  });

  test(`${title} works through two proxies with a detection time-out of an hour, over IPv4 and IPv6`, async () => {
    await using mesh = await Mesh.start();
    const [a, b] = [mesh.node("a"), mesh.node("b")];
    const client = a.pod("client");
    const serving = b.pod("server").serve(server());
    const service = mesh.service("server", { port, endpoints: [serving] });
    const options = { detectTimeoutSeconds: hourSeconds };
    const [outbound, inbound] = await Promise.all([a.culvert(options), b.culvert(options)]);
    const directory = join(mesh.directory, serving.name);

    for (const address of [service.ipv4, service.ipv6]) assert.match(await use(client, address, directory), expected);
    for (const [culvert, direction] of [
      [outbound, "outbound"],
      [inbound, "inbound"],
    ] as const) {
      for (const seen of await culvert.connections(2, (it) => it.direction === direction)) {
        assert.equal(seen.protocol, "opaque");
        assert.ok(by.includes(seen.protocolBy), `${direction}: by ${seen.protocolBy}`);
      }
    }
  });
}
