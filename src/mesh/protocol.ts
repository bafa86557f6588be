// What connections speak, as mesh.yaml, log and metrics call it.

/** What a service's port may be declared to speak. */
export const protocols = [
  "http", // HTTP/1
  "http2", // HTTP/2 without TLS, known before the first byte
  "grpc", // HTTP/2 that carries gRPC
  "tls", // TLS of the applications' own
  "opaque", // bytes that mean nothing to the proxy
] as const;
export type Protocol = (typeof protocols)[number];
