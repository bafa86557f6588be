// One BPF map of the loaded objects, by bytes. Owns its descriptor.

import { type BpfMapInfo, type Fd, type NativeError, native } from "../runtime/native.ts";

export class BpfMap {
  readonly fd: Fd;
  readonly #name: string;
  readonly #info: BpfMapInfo;

  constructor(name: string, info: BpfMapInfo) {
    this.fd = info.fd;
    this.#name = name;
    this.#info = info;
  }

  get maxEntries(): number {
    return this.#info.maxEntries;
  }

  update(key: Uint8Array, value: Uint8Array): void {
    try {
      native.bpf("mapUpdate", { map: this.fd, key, value });
    } catch (cause) {
      if ((cause as NativeError).errno !== "E2BIG") throw cause;
      throw this.fullError("one more is wanted", cause);
    }
  }

  fullError(what: string, cause?: unknown): Error {
    return new Error(`BPF map ${this.#name} is full: ${what}, and one node can have ${this.maxEntries}`, { cause });
  }

  delete(key: Uint8Array): void {
    native.bpf("mapDelete", { map: this.fd, key });
  }

  lookup(key: Uint8Array): Uint8Array | undefined {
    return native.bpf("mapLookup", { map: this.fd, key, valueSize: this.#info.valueSize }).value;
  }

  *keys(): Generator<Uint8Array> {
    const { keySize } = this.#info;
    const { keys } = native.bpf("mapKeys", { map: this.fd, keySize });
    for (let at = 0; at < keys.length; at += keySize) yield keys.subarray(at, at + keySize);
  }

  close(): void {
    closeFd(this.fd);
  }
}

export function closeFd(fd: Fd): void {
  native.netns("close", { fd });
}
