// Makes the keys of a BPF map exactly those that are wanted; what stays is not touched. New keys are there before old ones
// go, unless the map has no room for both.

import type { BpfMap } from "./bpf-map.ts";

/** `between`: called when the new keys are there. Throws, with nothing changed, when more are wanted than fit. */
export function replaceKeys(
  map: BpfMap,
  keys: Iterable<Uint8Array>,
  value: Uint8Array,
  between: () => void = () => {},
): void {
  const wanted = new Map<string, Uint8Array>();
  for (const key of keys) wanted.set(textOf(key), key);
  if (wanted.size > map.maxEntries) throw map.fullError(`${wanted.size} are wanted`);

  const stale: Uint8Array[] = [];
  let size = 0;
  for (const key of map.keys()) {
    size++;
    if (!wanted.delete(textOf(key))) stale.push(key);
  }
  const removeStale = () => {
    for (const key of stale.splice(0)) map.delete(key);
  };
  if (size + wanted.size > map.maxEntries) removeStale();
  for (const key of wanted.values()) map.update(key, value);
  between();
  removeStale();
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}
