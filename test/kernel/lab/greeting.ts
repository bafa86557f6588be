// What the servers of the lab say to whoever connects, and how the dialler reports it.

import { isIPv6 } from "node:net";

export interface Greeting {
  who: string;
  peer: string;
  local: string;
  /** Only from the proxy: what the connection's record says. */
  original?: { address: string; family: number; podId: number } | undefined;
}
export interface Dialled {
  greeting: Greeting | undefined;
  /** As the application's socket tells them. */
  local: string;
  peer: string;
  error?: string;
}
export interface DialRequest {
  host: string;
  port: number;
  localAddress?: string;
  localPort?: number;
}

export function endpoint(address: string | undefined, port: number | undefined): string {
  return isIPv6(address ?? "") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Who answered, or why nobody did. */
export function who({ greeting, error }: Dialled): string | undefined {
  return greeting?.who ?? error;
}
