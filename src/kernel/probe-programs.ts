// The smallest BPF programs that use one thing each, as bytes: what the probes load. Each is right, so that nothing but
// the lack of what it uses can make a kernel refuse it. Numbers are those of <linux/bpf.h>, by which the kernel knows them.

import type { Fd } from "../runtime/native.ts";

export const programTypes = { sock: 9, sockOps: 13, sockAddr: 18, skLookup: 30 } as const;
export const attachTypes = {
  sockCreate: 2,
  sockOps: 3,
  bind4: 8,
  bind6: 9,
  connect4: 10,
  connect6: 11,
  getpeername4: 29,
  getpeername6: 30,
  skLookup: 36,
} as const;
export const mapTypes = { array: 2, lruHash: 9, sockmap: 15, skStorage: 24, ringbuf: 27 } as const;
export const mapFlags = { none: 0, noPreallocation: 1, mmapable: 1024 } as const;

const helpers = {
  mapLookup: 1,
  bind: 64,
  skLookupTcp: 84,
  skRelease: 86,
  skStorageGet: 107,
  getNetnsCookie: 122,
  skAssign: 124,
  setRetval: 187,
} as const;

/** Where a context keeps its `struct bpf_sock *sk`. */
export const socketOffsets = { sockAddr: 64, sockOps: 184 } as const;

type Instruction = readonly [code: number, destination: number, source: number, offset: number, immediate: number];
// Registers: 0 result, 1–5 arguments, 6–9 kept over calls, 10 the stack's end.
const setNumber = (to: number, value: number): Instruction => [0xb7, to, 0, 0, value];
const copy = (to: number, from: number): Instruction => [0xbf, to, from, 0, 0];
const add = (to: number, value: number): Instruction => [0x07, to, 0, 0, value];
const load8 = (to: number, from: number, offset: number): Instruction => [0x79, to, from, offset, 0];
const storeZero8 = (offset: number): Instruction => [0x7a, 10, 0, offset, 0];
const skipIfZero = (register: number, count: number): Instruction => [0x15, register, 0, count, 0];
const call = (helper: keyof typeof helpers): Instruction => [0x85, 0, 0, 0, helpers[helper]];
/** Two instructions long. */
const setMap = (to: number, map: Fd): Instruction[] => [
  [0x18, to, 1, 0, map],
  [0, 0, 0, 0, 0],
];
const pass: readonly Instruction[] = [setNumber(0, 1), [0x95, 0, 0, 0, 0]];

function bytesOf(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, [code, destination, source, offset, immediate]] of instructions.entries()) {
    view.setUint8(i * 8, code);
    view.setUint8(i * 8 + 1, (source << 4) | destination);
    view.setInt16(i * 8 + 2, offset, true);
    view.setInt32(i * 8 + 4, immediate, true);
  }
  return bytes;
}

export function passProgram(): Uint8Array {
  return bytesOf(pass);
}

export function netnsCookieProgram(): Uint8Array {
  return bytesOf([call("getNetnsCookie"), ...pass]);
}

/** The storage of the context's socket, or of the context itself where that is the socket (`offset` undefined). */
export function socketStorageProgram(storage: Fd, offset: number | undefined): Uint8Array {
  const get = [...setMap(1, storage), setNumber(3, 0), setNumber(4, 0), call("skStorageGet")];
  if (offset === undefined) return bytesOf([copy(2, 1), ...get, ...pass]);
  return bytesOf([load8(2, 1, offset), skipIfZero(2, get.length), ...get, ...pass]);
}

export function setReturnValueProgram(): Uint8Array {
  return bytesOf([setNumber(1, -111), call("setRetval"), ...pass]);
}

/** bpf_bind of an IPv4 address, port 0. */
export function bindProgram(): Uint8Array {
  const address = [storeZero8(-8), storeZero8(-16), copy(2, 10), add(2, -16), setNumber(3, 16)];
  return bytesOf([...address, call("bind"), ...pass]);
}

export function listenerLookupProgram(): Uint8Array {
  const tuple = [storeZero8(-8), storeZero8(-16), copy(2, 10), add(2, -16), setNumber(3, 12)];
  const release = [copy(1, 0), call("skRelease")];
  const lookup = [setNumber(4, -1), setNumber(5, 0), call("skLookupTcp"), skipIfZero(0, release.length), ...release];
  return bytesOf([...tuple, ...lookup, ...pass]);
}

/** Gives the connection to the listener in slot 0 of a SOCKMAP. */
export function assignListenerProgram(listeners: Fd): Uint8Array {
  const give = [copy(6, 0), copy(1, 7), copy(2, 6), setNumber(3, 0), call("skAssign"), copy(1, 6), call("skRelease")];
  const lookup = [copy(7, 1), storeZero8(-8), copy(2, 10), add(2, -8), ...setMap(1, listeners), call("mapLookup")];
  return bytesOf([...lookup, skipIfZero(0, give.length), ...give, ...pass]);
}
