// A stand-in for the proxy, in a process and cgroup of its own: the real Capture, and servers on its listeners that
// greet every connection with what they know about it.

import { openSync } from "node:fs";
import net from "node:net";
import { Capture } from "../../../src/kernel/capture.ts";
import { enterProxyCgroup } from "../../../src/kernel/cgroup.ts";
import { startHeartbeat } from "../../../src/kernel/heartbeat.ts";
import { judgeInbound, judgeOutbound } from "../../../src/kernel/judge.ts";
import { encodeU32, encodeU64, sizes } from "../../../src/kernel/layout.ts";
import type { OptOut } from "../../../src/kernel/opt-out.ts";
import type { PodRequest, PreparedPod } from "../../../src/kernel/pod.ts";
import { countReasons, type Reason } from "../../../src/kernel/reasons.ts";
import { addressFromBytes, formatAddress, parseAddress, parseCidr, writeAddress } from "../../../src/mesh/address.ts";
import { bpfObjectsPath, type Fd, type NetnsCookie, native } from "../../../src/runtime/native.ts";
import { serveCalls } from "./calls.ts";
import { descriptors } from "./descriptors.ts";
import { type DialAs, dialAs } from "./dial-as.ts";
import { endpoint, type Greeting } from "./greeting.ts";

export interface OptOutText {
  cidr?: string;
  ports?: { from: number; to: number }[];
}
export interface PodText {
  name: string;
  netnsPath: string;
  addresses: string[];
  outboundOptOuts?: OptOutText[];
  inboundOptOuts?: OptOutText[];
  outboundStrict?: boolean;
  inboundStrict?: boolean;
  probePorts?: number[];
}

interface StartOptions {
  objects?: string;
  pins?: string;
  unknownPods?: "pass" | "deny";
  kubeletCgroup?: string;
}

const [podsCgroup, proxyCgroup, mode] = process.argv.slice(2) as [string, string, string | undefined];
const membership = mode === "outside-its-cgroup" ? undefined : enterProxyCgroup(proxyCgroup);
let capture: Capture | undefined;
let heartbeat: ReturnType<typeof startHeartbeat> | undefined;
const pods = new Map<string, { pod: PreparedPod; servers: Map<Fd, net.Server> }>();

function running(): Capture {
  if (capture === undefined) throw new Error("capture is not started");
  return capture;
}

function podNamed(name: string): { pod: PreparedPod; servers: Map<Fd, net.Server> } {
  const found = pods.get(name);
  if (found === undefined) throw new Error(`pod ${name} is not prepared`);
  return found;
}

function optOutOf({ cidr, ports }: OptOutText): OptOut {
  return { address: cidr === undefined ? undefined : parseCidr(cidr)!, ports: ports ?? [] };
}

function requestOf(text: PodText): PodRequest {
  return {
    name: text.name,
    netnsPath: text.netnsPath,
    addresses: text.addresses.map((address) => parseAddress(address)!),
    outboundOptOuts: (text.outboundOptOuts ?? []).map(optOutOf),
    inboundOptOuts: (text.inboundOptOuts ?? []).map(optOutOf),
    outboundStrict: text.outboundStrict ?? false,
    inboundStrict: text.inboundStrict ?? false,
    probePorts: text.probePorts ?? [],
  };
}

/** Reads and removes the record, as native/reactor/original_destination.cc does. */
function takeOriginal(socket: net.Socket): Greeting["original"] {
  const key = new Uint8Array(40);
  const view = new DataView(key.buffer);
  writeAddress(parseAddress(socket.remoteAddress!)!, key, 0);
  writeAddress(parseAddress(socket.localAddress!)!, key, 16);
  view.setUint16(32, socket.remotePort!);
  view.setUint16(34, socket.localPort!);
  const map = running().maps.original_destination;
  const value = map.lookup(key);
  map.delete(key);
  if (value === undefined) return undefined;
  const record = new DataView(value.buffer, value.byteOffset);
  return {
    address: endpoint(formatAddress(addressFromBytes(value)), record.getUint16(16)),
    family: record.getUint16(18, true),
    podId: record.getUint32(20, true),
  };
}

function serve(pod: PreparedPod): Map<Fd, net.Server> {
  return new Map(
    pod.listeners.map(({ direction, fd }) => {
      const server = net.createServer((socket) => {
        socket.on("error", () => {});
        const peer = endpoint(socket.remoteAddress, socket.remotePort);
        const local = endpoint(socket.localAddress, socket.localPort);
        const original = direction === "outbound" ? takeOriginal(socket) : undefined;
        socket.end(`${JSON.stringify({ who: `proxy ${direction}`, peer, local, original })}\n`);
      });
      server.listen({ fd });
      return [fd, server];
    }),
  );
}

/** libuv closes the descriptor, and later Capture will too: the number is kept busy, lest it close somebody else's. */
function closeServer(fd: Fd, server: net.Server): void {
  server.close();
  while (openSync("/dev/null", "r") !== fd);
}

const functions = {
  start({ objects = bpfObjectsPath, ...options }: StartOptions = {}): void {
    capture = Capture.start({ objectsPath: objects, podsCgroup, proxyCgroup, ...options });
    heartbeat = startHeartbeat(0);
  },

  settle(options: { keepsStrict: boolean } = { keepsStrict: false }): void {
    running().settle(options);
  },

  setDestinations({ addresses, cidrs }: { addresses: string[]; cidrs: string[] }): void {
    running().interest.setDestinations(
      addresses.map((address) => parseAddress(address)!),
      cidrs.map((cidr) => parseCidr(cidr)!),
    );
  },

  setRefused(endpoints: { address: string; port: number }[]): void {
    running().interest.setRefused(endpoints.map(({ address, port }) => ({ address: parseAddress(address)!, port })));
  },

  /** Answers the pod's id and cookie. */
  prepare(text: PodText): { id: number; cookie: string } {
    const pod = running().pods.prepare(requestOf(text));
    pods.set(text.name, { pod, servers: serve(pod) });
    return { id: pod.id, cookie: String(pod.cookie) };
  },

  /** As on kernels before 5.14: the cookie comes from the sock_create program. */
  prepareWithoutCookieOption(text: PodText): { fromKernel: string; fromProgram: string } {
    const { netns } = native;
    let fromKernel: NetnsCookie | undefined;
    native.netns = ((op: "open", request: { path: string }) => {
      const reply = netns(op, request);
      if (op !== "open") return reply;
      fromKernel = reply.cookie;
      return { ...reply, cookie: undefined };
    }) as typeof native.netns;
    try {
      const pod = running().pods.prepare(requestOf(text));
      const fromProgram = String(pod.cookie);
      running().pods.release(pod);
      return { fromKernel: String(fromKernel), fromProgram };
    } finally {
      native.netns = netns;
    }
  },

  /** Answers for how long the pod has dialled before. */
  arm(name: string): number | undefined {
    return running().pods.arm(podNamed(name).pod);
  },

  /** As if the process had not got as far as that in arming the pod. */
  loseNamespace(name: string): void {
    running().maps.pods.delete(encodeU64(podNamed(name).pod.cookie));
  },

  addPlain(netnsPath: string): void {
    running().rules.addPlain(running().cookies.at(netnsPath));
  },

  setNodeAddresses(addresses: string[]): void {
    running().rules.setAddresses(addresses.map((address) => parseAddress(address)!));
  },

  checkExemption(): string[] {
    return running().probeExemption!.check();
  },

  disarm(name: string): void {
    running().pods.disarm(podNamed(name).pod);
  },

  leave(name: string): void {
    running().pods.leave(podNamed(name).pod);
  },

  release(name: string): void {
    const { pod, servers } = podNamed(name);
    pods.delete(name);
    running().pods.release(pod);
    for (const server of servers.values()) server.close();
  },

  dialAs({ pod: name, ...way }: DialAs & { pod: string }): Promise<{ greeting?: Greeting; errno?: number }> {
    return dialAs(podNamed(name).pod.netns, way);
  },

  /** As if nobody listened any more, while the programs stay in force. */
  closeListeners(name: string): void {
    for (const [fd, server] of podNamed(name).servers) closeServer(fd, server);
  },

  /** From now on each worker's loop last said so many milliseconds ago that it runs. */
  setHeartbeats(agesMs: readonly number[]): void {
    heartbeat?.stop();
    const value = new Uint8Array(sizes.heartbeats);
    const now = process.hrtime.bigint();
    for (const [worker, age] of agesMs.entries()) {
      new DataView(value.buffer).setBigUint64(worker * 8, now - BigInt(age) * 1_000_000n, true);
    }
    running().maps.heartbeats.update(encodeU32(0), value);
  },

  /** What kernel/judge.ts foretells of a connect by the host, and of the connection's arrival from there. */
  foretell(way: { netnsPath: string; source: string; destination: string; port: number }): {
    outbound: Reason;
    inbound: Reason | undefined;
  } {
    const { maps } = running();
    const destination = parseAddress(way.destination)!;
    return {
      outbound: judgeOutbound(maps, running().cookies.at(way.netnsPath), destination, way.port),
      inbound: judgeInbound(maps, parseAddress(way.source)!, destination, way.port),
    };
  },

  reasonCounts(): Record<string, number> {
    return countReasons(running().maps);
  },

  /** Nothing may be served after it: the servers still hold the numbers of descriptors that Capture has closed. */
  close(): void {
    running().close();
  },

  leaveCgroup(): void {
    membership?.leave();
  },

  descriptors,

  writeBypass(entry: {
    source: string;
    sourcePort: number;
    destination: string;
    port: number;
    ageSeconds: number;
  }): void {
    const key = new Uint8Array(40);
    const view = new DataView(key.buffer);
    writeAddress(parseAddress(entry.source)!, key, 0);
    writeAddress(parseAddress(entry.destination)!, key, 16);
    view.setUint16(32, entry.sourcePort);
    view.setUint16(34, entry.port);
    const value = new Uint8Array(16);
    const now = process.hrtime.bigint();
    new DataView(value.buffer).setBigUint64(0, now - BigInt(entry.ageSeconds) * 1_000_000_000n, true);
    running().maps.bypass.update(key, value);
  },
};
export type ProxyFunctions = typeof functions;

serveCalls(functions);
