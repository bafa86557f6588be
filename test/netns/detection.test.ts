// What a connection speaks is seen in passing, by both pipelines; no byte waits for it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nginx } from "./harness/applications.ts";
import type { Culvert, CulvertOptions } from "./harness/culvert.ts";
import { patienceMs } from "./harness/journal.ts";
import { Mesh } from "./harness/mesh.ts";
import type { RemoteSocket } from "./harness/remote-socket.ts";
import { impatientHaproxy, nghttpd, nodeHttp2 } from "./harness/server-first.ts";
import type { Service } from "./harness/service.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const emptySettings = "\0\0\0\x04\0\0\0\0\0";
const hourSeconds = 3600;

const decided = async (culvert: Culvert, labels: Record<string, string>) =>
  (await culvert.metrics()).sum("culvert_connections_protocol_total", labels);

/** Both of a service's addresses, as they are and as a URL has them. */
const addressesOf = ({ ipv4, ipv6 }: Service) => [[ipv4, ipv4] as const, [ipv6, `[${ipv6}]`] as const];

const seen = ({ protocol, protocolBy }: { protocol: string; protocolBy: string }) => `${protocol} ${protocolBy}`;

test("curl to nginx is HTTP/1 by its first bytes, outbound and inbound, over IPv4 and IPv6", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, outside] = [node.pod("client"), node.outside("laptop")];
  const server = node.pod("server").serve(nginx());
  const web = mesh.service("web", { port: 80, endpoints: [server] });
  const culvert = await node.culvert();

  for (const address of [web.ipv4, `[${web.ipv6}]`]) await client.run("curl", "-sS", `http://${address}/`);
  for (const address of [server.ipv4, `[${server.ipv6}]`]) await outside.run("curl", "-sS", `http://${address}/`);
  for (const direction of ["outbound", "inbound"]) {
    const connections = await culvert.connections(2, (it) => it.direction === direction);
    assert.deepEqual(connections.map(seen), ["http detected", "http detected"]);
    assert.equal(await decided(culvert, { direction, protocol: "http", by: "detected" }), 2);
    assert.equal(await decided(culvert, { direction }), 2);
  }
});

test("TLS is seen with the name that the client asks for, over IPv4 and IPv6, and without one", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, outside] = [node.pod("client"), node.outside("laptop")];
  const server = node.pod("server").serve(nginx({ port: 443, isTls: true }));
  const web = mesh.service("web", { port: 443, endpoints: [server] });
  const culvert = await node.culvert();

  const ask = (address: string, name: string) => ["-sSk", "--resolve", `${name}:443:${address}`, `https://${name}/`];
  assert.match(await client.run("curl", ...ask(web.ipv4, "four.example")), /^server /);
  assert.match(await client.run("curl", ...ask(`[${web.ipv6}]`, "six.example")), /^server /);
  assert.match(await outside.run("curl", ...ask(server.ipv4, "outside.example")), /^server /);
  await client.run("openssl", "s_client", "-connect", `${web.ipv4}:443`, "-noservername");
  const connections = await culvert.connections(4);
  assert.deepEqual(connections.map(seen), Array(4).fill("tls detected"));
  assert.deepEqual(
    connections.map(({ sni }) => sni),
    ["four.example", "six.example", "outside.example", undefined],
  );
});

for (const { name, server: http2Server, path } of [
  { name: "node:http2", server: nodeHttp2, path: "/" },
  { name: "nghttpd", server: nghttpd, path: "/hello" },
]) {
  test(`an HTTP/2 server that sends SETTINGS first (${name}) is seen as HTTP/2 when the client's preface comes`, async () => {
    await using mesh = await Mesh.start();
    const node = mesh.node("a");
    const [client, outside] = [node.pod("client"), node.outside("laptop")];
    const server = node.pod("server").serve(http2Server());
    const web = mesh.service("web", { port: 80, endpoints: [server] });
    const culvert = await node.culvert({ detectTimeoutSeconds: hourSeconds });

    const places = [
      [client, web.ipv4],
      [client, web.ipv6],
      [outside, server.ipv4],
      [outside, server.ipv6],
    ] as const;
    for (const [i, [host, address]] of places.entries()) {
      const socket = await (await host.socket()).connect(address, 80);
      // Delivered, although nothing is known yet.
      assert.equal((await socket.receive(9)).charCodeAt(3), 4, "the server did not begin with SETTINGS");
      assert.equal(await decided(culvert, {}), i);
      await socket.send(preface.slice(0, 3));
      await socket.send(preface.slice(3) + emptySettings);
      await socket.shutdown();
      assert.equal((await socket.ending()).end, "fin");
      await socket.close();
      await culvert.connections(i + 1);
    }
    for (const address of [web.ipv4, `[${web.ipv6}]`]) {
      const answer = await client.run("curl", "-sS", "--http2-prior-knowledge", `http://${address}${path}`);
      assert.equal(answer, "hello");
    }
    const connections = await culvert.connections(places.length + 2);
    assert.deepEqual(connections.map(seen), Array(places.length + 2).fill("http2 detected"));
  });
}

/** A client, and a server that the test plays on port 7000; workers: 1, because each remembers for itself. */
async function stage(mesh: Mesh, options: CulvertOptions = {}) {
  const node = mesh.node("a");
  const client = node.pod("client");
  const service = mesh.service("server", { port: 7000, endpoints: [node.pod("server")] });
  const server = await node.pod("server").listen(7000);
  const culvert = await node.culvert({ workers: 1, detectTimeoutSeconds: hourSeconds, ...options });
  let count = 0;
  /** Connects, plays, and closes the client's side first; how the connection was seen. */
  const play = async (script: (client: RemoteSocket) => Promise<void>, address = service.ipv4) => {
    const socket = await (await client.socket()).connect(address, 7000);
    await server.accept();
    await script(socket);
    await socket.close();
    await server.ending();
    await server.close();
    return seen((await culvert.connections(++count)).at(-1)!);
  };
  const say = async (from: RemoteSocket, to: RemoteSocket, text: string) => {
    await from.send(text);
    assert.equal(await to.receive(text.length), text);
  };
  const request = (socket: RemoteSocket) => say(socket, server, "GET / HTTP/1.1\r\n\r\n");
  const answer = (socket: RemoteSocket) => say(server, socket, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  return {
    culvert,
    service,
    server,
    play,
    say,
    http: (address?: string) =>
      play(async (socket) => {
        await request(socket);
        await answer(socket);
      }, address),
    /** What a client's half of a method is taken for. It is delivered at once, whatever it is. */
    half: (address?: string) => play((socket) => say(socket, server, "GE"), address),
  };
}

test("a request line is recognised one byte a segment, and every byte is delivered at once", async () => {
  await using mesh = await Mesh.start();
  const { service, server, play, say } = await stage(mesh);
  for (const address of [service.ipv4, service.ipv6]) {
    const how = await play(async (client) => {
      for (const byte of "GET /a HTTP/1.1\r\n") await say(client, server, byte);
    }, address);
    assert.equal(how, "http detected");
  }
});

test("three connections teach what a destination speaks, one that disagrees clears it", async () => {
  await using mesh = await Mesh.start();
  const { service, server, play, say, http, half } = await stage(mesh);
  for (const address of [service.ipv4, service.ipv6]) {
    for (let i = 0; i < 3; i++) {
      assert.equal(await half(address), "opaque detected", `after ${i}`);
      assert.equal(await http(address), "http detected");
    }
    assert.equal(await half(address), "http learned");
    assert.equal(await play((client) => say(server, client, "220 mail\r\n"), address), "opaque server_first");
    assert.equal(await half(address), "opaque detected");
  }
});

test("408 to an idle client teaches nothing, and clears nothing", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const server = node.pod("server").serve(impatientHaproxy(300));
  const web = mesh.service("web", { port: 80, endpoints: [server] });
  const culvert = await node.culvert({ workers: 1, detectTimeoutSeconds: hourSeconds });
  let count = 0;
  const last = async () => seen((await culvert.connections(++count)).at(-1)!);
  const idle = async (address: string, said: string) => {
    const socket = await (await client.socket()).connect(address, 80);
    if (said !== "") await socket.send(said);
    assert.match(await socket.receive(12), /^HTTP\/1\.. 408$/);
    await socket.ending();
    await socket.close();
    return last();
  };
  for (const [address, host] of addressesOf(web)) {
    for (let i = 0; i < 3; i++) assert.equal(await idle(address, ""), "unknown ended");
    assert.equal(await idle(address, "GE"), "opaque detected");
    for (let i = 0; i < 3; i++) {
      assert.equal(await client.run("curl", "-sS", `http://${host}/`), "hello");
      assert.equal(await last(), "http detected");
    }
    assert.equal(await idle(address, ""), "unknown ended");
    assert.equal(await idle(address, "GE"), "http learned");
  }
});

test("a client that sends junk changes nothing for others", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, vandal] = [node.pod("client"), node.pod("vandal")];
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("server").serve(nginx())] });
  const culvert = await node.culvert({ workers: 1, detectTimeoutSeconds: hourSeconds });
  const of = async (pod: string, count: number) => {
    const connections = await culvert.connections(count, (it) => it.pod === `default/${pod}`);
    return connections.map(seen).slice(-1)[0];
  };
  let [junked, good] = [0, 0];
  const sendJunk = async (address: string) => {
    for (const junk of ["\0\0\0junk", "\x16\x03\x01\0\0", "GET junk\r\n\r\n", "\r\n\r\n\r\n"]) {
      const socket = await (await vandal.socket()).connect(address, 80);
      await socket.send(junk);
      await socket.shutdown();
      await socket.ending();
      await socket.close();
      assert.equal(await of("vandal", ++junked), "opaque detected", JSON.stringify(junk));
    }
  };
  const half = async (address: string) => {
    const socket = await (await client.socket()).connect(address, 80);
    await socket.send("GE");
    await socket.shutdown();
    await socket.ending();
    await socket.close();
    return of("client", ++good);
  };
  for (const [address, host] of addressesOf(web)) {
    await sendJunk(address);
    assert.equal(await half(address), "opaque detected");
    for (let i = 0; i < 3; i++) {
      await client.run("curl", "-sS", `http://${host}/`);
      assert.equal(await of("client", ++good), "http detected");
    }
    await sendJunk(address);
    assert.equal(await half(address), "http learned");
  }
});

test("what a service's port is declared to speak is taken as it is, by the service and by its endpoint", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const [client, outside] = [node.pod("client"), node.outside("laptop")];
  const protocols = ["http", "http2", "grpc", "tls", "opaque"];
  const services = protocols.map((protocol, i) => {
    const server = node.pod(`server-${protocol}`).serve(nginx({ port: 8080 }));
    return mesh.service(`declared-${i}`, { port: 80, targetPort: 8080, protocol, endpoints: [server] });
  });
  const culvert = await node.culvert();
  for (const [i, service] of services.entries()) {
    const [server] = service.endpoints;
    await client.run("curl", "-sS", `http://${service.ipv4}/`, `http://[${service.ipv6}]/`);
    await outside.run("curl", "-sS", `http://${server!.ipv4}:8080/`, `http://[${server!.ipv6}]:8080/`);
    for (const direction of ["outbound", "inbound"]) {
      const connections = await culvert.connections(2 * (i + 1), (it) => it.direction === direction);
      assert.deepEqual(connections.slice(-2).map(seen), Array(2).fill(`${protocols[i]} declared`), direction);
      assert.equal(await decided(culvert, { direction, protocol: protocols[i]!, by: "declared" }), 2);
    }
  }
});

test("a connection on which nobody speaks is opaque after detectTimeoutSeconds, and carries what comes then", async () => {
  await using mesh = await Mesh.start();
  const { culvert, service, server, play, say } = await stage(mesh, { detectTimeoutSeconds: 0.5 });
  for (const [i, address] of [service.ipv4, service.ipv6].entries()) {
    const how = await play(async (client) => {
      const timedOut = { protocol: "opaque", by: "timeout" };
      const end = performance.now() + patienceMs;
      // No event tells of it before the connection ends.
      while ((await decided(culvert, timedOut)) === i) {
        assert.ok(performance.now() < end, "no time-out");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await say(client, server, "GET / HTTP/1.1\r\n\r\n");
      await say(server, client, "HTTP/1.1 200 OK\r\n");
    }, address);
    assert.equal(how, "opaque timeout");
  }
});

test("a connection that says nothing, and one that is refused, is unknown", async () => {
  await using mesh = await Mesh.start();
  const closed = mesh.service("closed", { port: 7001, endpoints: [mesh.node("a").pod("server")] });
  const { culvert, service, play } = await stage(mesh);
  for (const address of [service.ipv4, service.ipv6])
    assert.equal(await play(async () => {}, address), "unknown ended");
  for (const address of [closed.ipv4, closed.ipv6]) {
    const socket = await (await mesh.node("a").pod("client").socket()).connect(address, 7001);
    await socket.ending();
  }
  const refused = await culvert.connections(2, ({ result }) => result === "refused");
  assert.deepEqual(refused.map(seen), ["unknown ended", "unknown ended"]);
  assert.equal(await decided(culvert, { protocol: "unknown", by: "ended" }), 4);
});
