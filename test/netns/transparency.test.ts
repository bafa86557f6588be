// What a transparent TCP proxy must not break, through one proxy (client and server on one node) and through two (on two
// nodes): the client's node's outbound, then the server's node's inbound. How streams end: endings.test.ts.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, test } from "node:test";
import { echo, nginx } from "./harness/applications.ts";
import { churn } from "./harness/churn.ts";
import type { Culvert } from "./harness/culvert.ts";
import { Mesh } from "./harness/mesh.ts";
import type { MeshNode } from "./harness/mesh-node.ts";
import { tcpState } from "./harness/namespace.ts";
import type { Pod } from "./harness/pod.ts";
import { tool } from "./harness/tools.ts";
import { assertTransfers } from "./harness/transfer.ts";

interface Way {
  readonly nodes: readonly MeshNode[];
  readonly client: Pod;
  readonly server: Pod;
  /** Of the client's node first. */
  culverts(options?: { connectTimeoutSeconds?: number }): Promise<readonly Culvert[]>;
}

function way(mesh: Mesh, names: readonly string[]): Way {
  const nodes = names.map((name) => mesh.node(name));
  return {
    nodes,
    client: nodes[0]!.pod("client"),
    server: nodes.at(-1)!.pod("server"),
    culverts: (options = {}) => Promise.all(nodes.map((node) => node.culvert(options))),
  };
}

for (const [proxies, names] of [
  ["one proxy", ["a"]],
  ["two proxies", ["a", "b"]],
] as const) {
  describe(`through ${proxies}`, () => {
    test("bytes pass both ways, client first and server first, over IPv4, IPv6 and v4-mapped, and each proxy saw them", async () => {
      await using mesh = await Mesh.start();
      const { client, server, culverts } = way(mesh, names);
      const service = mesh.service("server", { port: 7000, endpoints: [server] });
      const listener = await server.listen(7000);
      const running = await culverts();
      const addresses = [service.ipv4, service.ipv6, `::ffff:${service.ipv4}`, server.ipv4, server.ipv6];
      for (const [i, address] of addresses.entries()) {
        const socket = await (await client.socket()).connect(address, 7000);
        await listener.accept();
        const first = i % 2 === 0 ? listener : socket;
        const second = first === socket ? listener : socket;
        await first.send("greeting");
        assert.equal(await second.receive(8), "greeting");
        await second.send("answer");
        assert.equal(await first.receive(6), "answer");
        await socket.close();
        assert.deepEqual(await listener.ending(), { bytes: 0, end: "fin" });
        await listener.close();
      }
      for (const culvert of running) {
        const connections = await culvert.connections(addresses.length);
        assert.deepEqual(
          connections.map(({ result, bytesSent, bytesReceived }) => [result, bytesSent + bytesReceived]),
          addresses.map(() => ["ok", 14]),
        );
      }
    });

    test("random bytes in random chunks, with pauses and half-closes, arrive as they were sent, over IPv4 and IPv6", async () => {
      await using mesh = await Mesh.start();
      const { client, server, culverts } = way(mesh, names);
      // A port each: the first one's server may be about to end when the second one's begins.
      const four = mesh.service("four", { port: 7004, endpoints: [server] });
      const six = mesh.service("six", { port: 7006, endpoints: [server] });
      await culverts();
      for (const [address, port] of [[four.ipv4, four.port] as const, [six.ipv6, six.port] as const]) {
        const seed = Math.floor(Math.random() * 1e9);
        await assertTransfers({ client, server, address, port, connections: 8, bytes: 48e6, seed });
      }
    });

    test("what is no service or workload goes where the client asked", async () => {
      await using mesh = await Mesh.start();
      const { nodes, client, server, culverts } = way(mesh, names);
      server.serve(nginx({ port: 8080 }));
      mesh.service("web", { port: 80, targetPort: 8080, endpoints: [server] });
      const website = nodes[0]!.outside("website").serve(nginx());
      const [culvert] = await culverts();
      // A port that no service declares, of a workload; an address of a pod CIDR that is not known; one outside.
      for (const host of [server.ipv4, `[${server.ipv6}]`])
        assert.match(await client.run("curl", "-sS", `http://${host}:8080/`), /^server /);
      for (const host of [website.ipv4, `[${website.ipv6}]`])
        assert.match(await client.run("curl", "-sS", `http://${host}/`), /^website /);
      await nodes[0]!.reload({ podCidrs: ["192.0.2.0/24", "2001:db8::/32"] });
      for (const host of [website.ipv4, `[${website.ipv6}]`])
        assert.match(await client.run("curl", "-sS", `http://${host}/`), /^website /);
      const outbound = await culvert!.connections(4, ({ direction }) => direction === "outbound");
      assert.deepEqual(
        outbound.map(({ destination, endpoint }) => endpoint!.endsWith(destination)),
        [true, true, true, true],
      );
    });

    test("no socket is left in CLOSE_WAIT, whichever side closes first", async () => {
      await using mesh = await Mesh.start();
      const { client, server, culverts } = way(mesh, names);
      const service = mesh.service("echo", { port: 7000, endpoints: [server.serve(echo(7000))] });
      const closing = mesh.service("web", { port: 80, endpoints: [server.serve(nginx())] });
      const running = await culverts();
      for (const address of [service.ipv4, service.ipv6]) {
        const result = await churn(client, address, 7000, { connections: 500 });
        assert.deepEqual(result.failed, {});
      }
      for (const host of [closing.ipv4, `[${closing.ipv6}]`])
        await client.run("curl", "-sS", "-H", "Connection: close", `http://${host}/?[1-50]`);
      for (const culvert of running) {
        await culvert.connections(1100);
        assert.equal((await culvert.metrics()).sum("culvert_connections_open"), 0);
      }
      for (const pod of [client, server]) assert.equal(pod.namespace.countAll(tcpState.closeWait), 0, pod.name);
    });

    test("TLS that the applications speak themselves passes as it is, server name and all", async () => {
      await using mesh = await Mesh.start();
      const { client, server, culverts } = way(mesh, names);
      const service = mesh.service("tls", { port: 443, endpoints: [server] });
      const [wrong, right] = ["default.test", "app.test"].map((name) => certificate(mesh.directory, name));
      const application = await server.start(
        "openssl",
        ...["s_server", "-accept", "443", "-www", "-cert", wrong!.cert, "-key", wrong!.key],
        ...["-servername", "app.test", "-cert2", right!.cert, "-key2", right!.key],
      );
      await server.untilListening(application, [443]);
      await culverts();
      for (const address of [service.ipv4, service.ipv6]) {
        const page = await client.run(
          "curl",
          ...[
            "-sS",
            "--cacert",
            right!.cert,
            "--connect-to",
            `app.test:443:${address.includes(":") ? `[${address}]` : address}:443`,
          ],
          "https://app.test/",
        );
        assert.match(page, /TLSv1\.3/);
      }
    });

    test("a destination that refuses or is dead is seen as reset within the connect time-out, and no service loops", async () => {
      await using mesh = await Mesh.start();
      const { client, server, culverts } = way(mesh, names);
      const refusing = mesh.service("refusing", { port: 7000, endpoints: [server] });
      const gone = mesh.node(names.at(-1)!).pod("gone", { enrolled: false });
      const dead = mesh.service("dead", { port: 7000, endpoints: [gone] });
      const ownPorts = [15_001, 15_006, 15_008].map((port) =>
        mesh.service(`own-${port}`, { port: 80, targetPort: port, endpoints: [server, client] }),
      );
      const running = await culverts({ connectTimeoutSeconds: 2 });
      await gone.namespace.configure([`route add blackhole ${client.ipv4}`, `route add blackhole ${client.ipv6}`]);
      for (const service of [refusing, dead, ...ownPorts]) {
        for (const address of [service.ipv4, service.ipv6]) {
          const start = performance.now();
          const socket = await (await client.socket()).connect(address, service.port);
          assert.equal((await socket.ending()).end, "reset", `${service.name} ${address}`);
          assert.ok(performance.now() - start < 6_000, `${service.name}: ${performance.now() - start} ms`);
        }
      }
      for (const culvert of running) {
        const opened = (await culvert.metrics()).sum("culvert_connections_opened_total");
        assert.ok(opened <= 10, `${opened} connections: a loop`);
      }
    });

    test("localhost, a pod's own address, UDP and ICMP are untouched; a pod reaches itself through its service", async () => {
      await using mesh = await Mesh.start();
      // What captures most: a client whose every destination is of interest, and what cannot be captured fails, both ways.
      mesh.node(names[0]).pod("client", {
        record: { capture: { outbound: { egress: "observe", whenProxyDown: "deny" } } },
      });
      mesh.node(names.at(-1)!).pod("server", { whenProxyDown: "deny" });
      const { client, server, culverts } = way(mesh, names);
      client.serve(nginx());
      const own = mesh.service("own", { port: 80, endpoints: [client] });
      await server.start(process.execPath, "-e", udpEcho);
      const running = await culverts();
      for (const host of ["127.0.0.1", "[::1]", client.ipv4, `[${client.ipv6}]`])
        assert.match(await client.run("curl", "-sS", `http://${host}/`), /^client /);
      for (const address of [server.ipv4, server.ipv6]) {
        for (const how of ["connected", "unconnected"])
          assert.equal(await client.run(process.execPath, "-e", udpAsk, address, how), "pong");
      }
      for (const address of [server.ipv4, server.ipv6])
        assert.equal(await client.run("python3", "-c", ping, address), "answered");
      for (const culvert of running) assert.equal((await culvert.metrics()).sum("culvert_connections_opened_total"), 0);
      for (const host of [own.ipv4, `[${own.ipv6}]`])
        assert.match(await client.run("curl", "-sS", `http://${host}/`), /^client /);
      await running[0]!.connections(2, ({ service, result }) => service === "default/own:80" && result === "ok");
    });

    test("host-network peers work as clients and as servers", async () => {
      await using mesh = await Mesh.start();
      const { nodes, client, server, culverts } = way(mesh, names);
      server.serve(nginx());
      const host = nodes.at(-1)!.hostNetwork("agent").serve(nginx());
      await culverts();
      for (const address of [host.ipv4, `[${host.ipv6}]`])
        assert.match(await client.run("curl", "-sS", `http://${address}/`), /^agent /);
      for (const address of [server.ipv4, `[${server.ipv6}]`])
        assert.match(await host.run("curl", "-sS", `http://${address}/`), /^server /);
      assert.equal(await client.run(await tool("dial-as"), "tcp", host.ipv4, "80"), "connected directly");
    });
  });
}

const udpEcho = `
const socket = require("node:dgram").createSocket("udp6");
socket.on("message", (_, from) => socket.send("pong", from.port, from.address));
socket.bind(7000);`;
/** Asks again and again: the server may not be there yet. */
const udpAsk = `
const [, address, how] = process.argv;
const socket = require("node:dgram").createSocket(address.includes(":") ? "udp6" : "udp4");
socket.on("error", () => {}); // A connected one is told that nobody is there yet.
socket.on("message", (text) => { console.log(String(text)); process.exit(0); });
const send = how === "connected" ? () => socket.send("ping") : () => socket.send("ping", 7000, address);
if (how === "connected") socket.connect(7000, address, () => setInterval(send, 50));
else setInterval(send, 50);`;

/** An ICMP echo; the kernel answers. */
const ping = `
import socket, struct, sys
six = ":" in sys.argv[1]
icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58) if six else socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
icmp.settimeout(10)
packet = struct.pack("!BBHHH", 128 if six else 8, 0, 0 if six else 0xf7fe, 0, 1)
icmp.sendto(packet, (sys.argv[1], 0))
while True:
    answer = icmp.recv(100)[0 if six else 20:]
    if answer[0] == (129 if six else 0): break
print("answered")`;

function certificate(directory: string, name: string): { cert: string; key: string } {
  const [cert, key] = [`${directory}/${name}.pem`, `${directory}/${name}.key`];
  const options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  execFileSync("openssl", ["req", ...options, ...subject, "-keyout", key, "-out", cert], { stdio: "pipe" });
  return { cert, key };
}
