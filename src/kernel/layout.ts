// The bytes of the BPF maps' keys and values: bpf/structs.h, which has the same sizes (a unit test compares them).
// Addresses are in network order, all other numbers in host order: little-endian on both architectures we build for.

import { type Cidr, type IpAddress, mappedPrefixLength, networkAddress, writeAddress } from "../mesh/address.ts";
import type { NetnsCookie } from "../runtime/native.ts";

export const layout = {
  MESH_PORT_OUTBOUND: 15001,
  MESH_PORT_INBOUND: 15006,
  MESH_PORT_TUNNEL: 15008,
  MAX_PODS: 4096,
  LISTENERS_PER_POD: 4,
  LISTENER_INBOUND4: 0,
  LISTENER_INBOUND6: 1,
  LISTENER_OUTBOUND: 2,
  MAX_OPT_OUTS: 16,
  MAX_POD_CIDRS: 16,
  OPT_OUT_OUTBOUND: 1,
  OPT_OUT_INBOUND: 2,
  POD_STRICT_OUTBOUND: 1,
  POD_STRICT_INBOUND: 2,
  POD_SEALED: 4,
  POD_OBSERVES_EGRESS: 8,
  NODE_NOTES_UNKNOWN: 1,
  NODE_DENIES_UNKNOWN: 2,
  NODE_PASSES_PROBES: 4,
} as const;

export const sizes = {
  address: 16,
  pod: 40,
  pod_address: 8,
  refused: 20,
  heartbeats: 512,
  network: 32,
  networks: 520,
  opt_out: 40,
  opt_outs: 648,
  proxy_socket: 8,
  probe_port: 8,
};

export interface OptOutRule {
  direction: "outbound" | "inbound";
  /** Undefined: every address of both families. */
  address: Cidr | undefined;
  /** Both ends included. */
  ports: { from: number; to: number };
}

export function encodeU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function encodeU64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

export function decodeU32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

export function decodeU64(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
}

export function decodeCookie(bytes: Uint8Array): NetnsCookie {
  return decodeU64(bytes) as NetnsCookie;
}

/** Per-CPU values one after another, added up. */
export function sumU64(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let sum = 0;
  for (let i = 0; i < bytes.byteLength; i += 8) sum += Number(view.getBigUint64(i, true));
  return sum;
}

export function encodeAddress(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(sizes.address);
  writeAddress(address, bytes);
  return bytes;
}

/** `struct pod`: the addresses are the sources of captured connections; an absent one is all zero. */
export function encodePod(
  podId: number,
  flags: number,
  ip4: IpAddress | undefined,
  ip6: IpAddress | undefined,
): Uint8Array {
  const bytes = new Uint8Array(sizes.pod);
  bytes.set(encodePodAddress(podId, flags));
  if (ip4 !== undefined) writeAddress(ip4, bytes, 8);
  if (ip6 !== undefined) writeAddress(ip6, bytes, 24);
  return bytes;
}

/** `struct pod_address`, with which `struct pod` begins. */
export function encodePodAddress(podId: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(sizes.pod_address);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, podId, true);
  view.setUint32(4, flags, true);
  return bytes;
}

export function encodeRefused(address: IpAddress, port: number): Uint8Array {
  const bytes = new Uint8Array(sizes.refused);
  writeAddress(address, bytes);
  new DataView(bytes.buffer).setUint16(16, port);
  return bytes;
}

/** The port in host order. */
export function encodeProbePort(podId: number, port: number): Uint8Array {
  const bytes = new Uint8Array(sizes.probe_port);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, podId, true);
  view.setUint16(4, port, true);
  return bytes;
}

export function decodeProbePort(bytes: Uint8Array): { podId: number; port: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { podId: view.getUint32(0, true), port: view.getUint16(4, true) };
}

export function encodeNetworks(cidrs: readonly Cidr[]): Uint8Array {
  if (cidrs.length > layout.MAX_POD_CIDRS) {
    throw new Error(`set ${cidrs.length} pod CIDRs: at most ${layout.MAX_POD_CIDRS} fit; merge neighbouring ones`);
  }
  const bytes = new Uint8Array(sizes.networks);
  new DataView(bytes.buffer).setUint32(0, cidrs.length, true);
  for (const [i, cidr] of cidrs.entries()) writeNetwork(cidr, bytes, 8 + i * sizes.network);
  return bytes;
}

export function encodeOptOuts(rules: readonly OptOutRule[]): Uint8Array {
  const bytes = new Uint8Array(sizes.opt_outs);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, rules.length, true);
  for (const [i, rule] of rules.entries()) {
    const at = 8 + i * sizes.opt_out;
    // An all-zero mask matches every address.
    if (rule.address !== undefined) writeNetwork(rule.address, bytes, at);
    view.setUint16(at + 32, rule.ports.from, true);
    view.setUint16(at + 34, rule.ports.to, true);
    view.setUint32(at + 36, rule.direction === "outbound" ? layout.OPT_OUT_OUTBOUND : layout.OPT_OUT_INBOUND, true);
  }
  return bytes;
}

/** `struct network`: address and mask over the 128 bits of the v4-mapped form. */
function writeNetwork(cidr: Cidr, bytes: Uint8Array, offset: number): void {
  writeAddress(networkAddress(cidr), bytes, offset);
  const maskBits = mappedPrefixLength(cidr);
  for (let i = 0; i < 16; i++) {
    const own = Math.min(Math.max(maskBits - i * 8, 0), 8);
    bytes[offset + 16 + i] = (0xff00 >> own) & 0xff;
  }
}
