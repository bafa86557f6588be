// What the hooks would say of a connection, asked of the maps that they judge by: bpf/connect.bpf.c and sk_lookup.bpf.c
// once more, question by question in their order, for a plain TCP socket that is bound to nothing. A test dials what was
// foretold (test/netns/why.test.ts).

import { type IpAddress, unroutableKind } from "../mesh/address.ts";
import type { NetnsCookie } from "../runtime/native.ts";
import type { KernelMaps } from "./kernel-objects.ts";
import {
  decodeU32,
  encodeAddress,
  encodeProbePort,
  encodeRefused,
  encodeU32,
  encodeU64,
  layout,
  sizes,
} from "./layout.ts";
import type { Reason } from "./reasons.ts";

/** HEARTBEAT_STALE_NS of bpf/judge.h. */
export const heartbeatStaleMs = 3000;

/**
 * Of a connect() to `address`:`port` in the namespace of that cookie (undefined: one that the mesh has never seen).
 * Whether a device or an address is bound, and whether there is memory, is the socket's own affair and not foretold.
 */
export function judgeOutbound(
  maps: KernelMaps,
  cookie: NetnsCookie | undefined,
  address: IpAddress,
  port: number,
): Reason {
  const pod = cookie === undefined ? undefined : maps.pods.lookup(encodeU64(cookie));
  const destination = encodeAddress(address);
  if (pod === undefined) return judgeUnknown(maps, cookie, address);
  const id = decodeU32(pod);
  const flags = decodeU32(pod.subarray(4));
  if (isLoopback(address)) return "pass_loopback";
  if (ownerOf(maps, destination)?.id === id) return "pass_self";
  const isObserved = (flags & layout.POD_OBSERVES_EGRESS) !== 0 && unroutableKind(address) !== "link-local";
  if (!isOfInterest(maps, destination) && !isObserved) return "pass_no_interest";
  if (isOptedOut(maps, id, layout.OPT_OUT_OUTBOUND, destination, port)) return "pass_opted_out";
  const isStrict = (flags & layout.POD_STRICT_OUTBOUND) !== 0;
  const source = address.family === 4 ? pod.subarray(8, 24) : pod.subarray(24, 40);
  if (source.every((byte) => byte === 0)) return isStrict ? "deny_not_capturable" : "pass_no_source";
  if (!isProxyAlive(maps)) return isStrict ? "deny_no_heartbeat" : "pass_no_heartbeat";
  if ((flags & layout.POD_SEALED) !== 0 || !hasListener(maps, id, layout.LISTENER_OUTBOUND)) {
    return isStrict ? "deny_no_listener" : "pass_no_listener";
  }
  return maps.refused.lookup(encodeRefused(address, port)) === undefined ? "captured_outbound" : "refused_no_endpoint";
}

/** Of a connection from `source` that arrives at `address`:`port`; undefined: the hooks have no part in it. */
export function judgeInbound(
  maps: KernelMaps,
  source: IpAddress,
  address: IpAddress,
  port: number,
): Reason | undefined {
  const owner = ownerOf(maps, encodeAddress(address));
  if (owner === undefined) return undefined;
  if (port === layout.MESH_PORT_OUTBOUND || port === layout.MESH_PORT_INBOUND) return "deny_no_record";
  const from = encodeAddress(source);
  if (ownerOf(maps, from)?.id === owner.id) return undefined;
  if (port === layout.MESH_PORT_TUNNEL) return "pass_mesh_port";
  if (isOptedOut(maps, owner.id, layout.OPT_OUT_INBOUND, from, port)) {
    return "pass_opted_out";
  }
  const isStrict = (owner.flags & layout.POD_STRICT_INBOUND) !== 0;
  const isAlive = isProxyAlive(maps);
  if (isProbe(maps, owner.id, from, port, isAlive)) return "pass_probe";
  if (!isAlive) return isStrict ? "deny_no_heartbeat" : "pass_no_heartbeat";
  const listener = address.family === 6 ? layout.LISTENER_INBOUND6 : layout.LISTENER_INBOUND4;
  if ((owner.flags & layout.POD_SEALED) === 0 && hasListener(maps, owner.id, listener)) return "captured_inbound";
  return isStrict ? "deny_no_listener" : "pass_no_listener";
}

function judgeUnknown(maps: KernelMaps, cookie: NetnsCookie | undefined, address: IpAddress): Reason {
  const flags = nodeFlags(maps);
  const isPlain = cookie !== undefined && maps.plain.lookup(encodeU64(cookie)) !== undefined;
  const isNoted = (flags & layout.NODE_NOTES_UNKNOWN) !== 0 && !isPlain;
  if (!isNoted || isLoopback(address) || !isOfInterest(maps, encodeAddress(address))) return "pass_not_enrolled";
  return (flags & layout.NODE_DENIES_UNKNOWN) !== 0 ? "deny_unknown" : "pass_unknown";
}

function isProbe(maps: KernelMaps, id: number, source: Uint8Array, port: number, isAlive: boolean): boolean {
  if (isAlive && (nodeFlags(maps) & layout.NODE_PASSES_PROBES) === 0) return false;
  return (
    maps.probe_ports.lookup(encodeProbePort(id, port)) !== undefined && maps.node_addresses.lookup(source) !== undefined
  );
}

function nodeFlags(maps: KernelMaps): number {
  const value = maps.node_flags.lookup(encodeU32(0));
  return value === undefined ? 0 : decodeU32(value);
}

/** The unspecified address too: connecting to it reaches this host. */
function isLoopback({ family, words: [w0, w1, w2, w3] }: IpAddress): boolean {
  if (family === 4) return w3 >>> 24 === 127 || w3 === 0;
  return w0 === 0 && w1 === 0 && w2 === 0 && w3 <= 1;
}

function ownerOf(maps: KernelMaps, address: Uint8Array): { id: number; flags: number } | undefined {
  const value = maps.pod_by_address.lookup(address);
  return value && { id: decodeU32(value), flags: decodeU32(value.subarray(4)) };
}

function isOfInterest(maps: KernelMaps, address: Uint8Array): boolean {
  if (maps.destinations.lookup(address) !== undefined) return true;
  const networks = maps.pod_cidrs.lookup(encodeU32(0));
  if (networks === undefined) return false;
  const count = decodeU32(networks);
  for (let i = 0; i < count; i++) if (isIn(networks.subarray(8 + i * sizes.network), address)) return true;
  return false;
}

/** `struct network`: address, then mask. */
function isIn(network: Uint8Array, address: Uint8Array): boolean {
  return address.every((byte, i) => ((byte ^ network[i]!) & network[sizes.address + i]!) === 0);
}

function isOptedOut(maps: KernelMaps, id: number, direction: number, address: Uint8Array, port: number): boolean {
  const rules = maps.opt_outs.lookup(encodeU32(id));
  if (rules === undefined) return false;
  const view = new DataView(rules.buffer, rules.byteOffset);
  for (let i = 0; i < view.getUint32(0, true); i++) {
    const at = 8 + i * sizes.opt_out;
    const isOfPort = port >= view.getUint16(at + 32, true) && port <= view.getUint16(at + 34, true);
    if (view.getUint32(at + 36, true) === direction && isOfPort && isIn(rules.subarray(at), address)) return true;
  }
  return false;
}

/** How long each worker's loop has not said that it runs, in ms; as many as have ever said so. */
export function heartbeatAgesMs(maps: KernelMaps): number[] {
  const beats = maps.heartbeats.lookup(encodeU32(0));
  if (beats === undefined) return [];
  const view = new DataView(beats.buffer, beats.byteOffset, beats.byteLength);
  const nowNs = process.hrtime.bigint(); // CLOCK_MONOTONIC, as the kernel's
  const ages: number[] = [];
  for (let worker = 0; worker < sizes.heartbeats / 8; worker++) {
    const lastNs = view.getBigUint64(worker * 8, true);
    if (lastNs !== 0n) ages[worker] = Number(nowNs - lastNs) / 1e6;
  }
  return ages;
}

function isProxyAlive(maps: KernelMaps): boolean {
  return heartbeatAgesMs(maps).some((age) => age < heartbeatStaleMs);
}

/** A socket that is closed is in the map no more. */
export function hasListener(maps: KernelMaps, id: number, which: number): boolean {
  return maps.listeners.lookup(encodeU32(id * layout.LISTENERS_PER_POD + which)) !== undefined;
}
