// Socket addresses of the runtime in words and in text.

import { addressFromWords, formatSocketAddress, type IpAddress } from "../mesh/address.ts";
import type { SocketWords } from "../runtime/connection.ts";

export function formatSocketWords(address: SocketWords): string {
  return formatSocketAddress(addressFromWords(address.w0, address.w1, address.w2, address.w3), address.port);
}

export function socketWordsOf(address: IpAddress, port: number): SocketWords {
  const [w0, w1, w2, w3] = address.words;
  return { w0: w0 | 0, w1: w1 | 0, w2: w2 | 0, w3: w3 | 0, port };
}
