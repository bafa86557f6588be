// Every error Culvert can report, in one table: the code is the same in log, metric, CLI and docs. Codes are added, never
// renamed or reused. A message says what was attempted, on what and why it failed; the hint says what to do about it.

/** Where the cause lies. peer: whichever side TLS was spoken with. */
export type ErrorSource = "downstream" | "upstream" | "peer" | "internal" | "kernel" | "config";
/** Whether trying again may help without doing harm. reused-only: only where the connection had been used before. */
export type ErrorRetry = "never" | "safe" | "reused-only";

interface ErrorKind {
  readonly source: ErrorSource;
  readonly retry: ErrorRetry;
  /** `{name}` is replaced by the detail of that name. */
  readonly template: string;
  readonly hint: string;
}

export const errorTable = {
  CONFIG_UNREADABLE: {
    source: "config",
    retry: "never",
    template: "read {path}: {reason}",
    hint: "check the path and its permissions",
  },
  CONFIG_INVALID: {
    source: "config",
    retry: "never",
    template: "load {path}: {problems}",
    hint: "nothing was changed; correct the file and try again",
  },
  ADMIN_SOCKET_IN_USE: {
    source: "config",
    retry: "never",
    template: "listen on {socket}: another process answers there",
    hint: "stop it, or give this node another name or node.admin.socket",
  },
  ADMIN_SOCKET_BLOCKED: {
    source: "config",
    retry: "never",
    template: "listen on {socket}: {reason}",
    hint: "remove what is in the way, or set node.admin.socket to a path in a directory that this process may write to",
  },
  ADMIN_ADDRESS_UNAVAILABLE: {
    source: "config",
    retry: "never",
    template: "listen on {address} for admin requests: {reason}",
    hint: "choose a free address of this machine for node.admin.address, or leave it out and use the socket",
  },
  ADMIN_REFUSED: {
    source: "config",
    retry: "never",
    template: "ask the running Culvert for {page}: {reason}",
    hint: "culvert pods and culvert services show what there is",
  },
  NODE_NOT_FOUND: {
    source: "config",
    retry: "safe",
    template: "ask the Culvert of {socket}: there is no such socket",
    hint: "start it with culvert node, or name its node.admin.socket with --socket",
  },
  NODE_NO_SOCKET: {
    source: "config",
    retry: "never",
    template: "ask the Culvert of {socket}: that is {kind}, not a socket",
    hint: "name the node's node.admin.socket with --socket; the default is /run/culvert/<node>.sock",
  },
  NODE_UNCLEAR: {
    source: "config",
    retry: "never",
    template: "find the Culvert to ask: {directory} has the sockets of several: {names}",
    hint: "name one with --socket or in the environment variable CULVERT_SOCKET",
  },
  NODE_NOT_RUNNING: {
    source: "config",
    retry: "safe",
    template: "ask the Culvert of {socket}: nobody listens there any more",
    hint: "the process has ended without removing its socket: start culvert node again, which replaces it",
  },
  NODE_SILENT: {
    source: "internal",
    retry: "safe",
    template: "ask the Culvert of {socket}: {reason}",
    hint: "see its log, and whether its process runs; culvert check tells more",
  },
  ADMIN_DENIED: {
    source: "config",
    retry: "never",
    template: "ask the Culvert of {socket}: permission denied",
    hint: "the socket is its owner's alone: run this command as root",
  },
  SYSDUMP_NOT_WRITTEN: {
    source: "config",
    retry: "never",
    template: "write the archive {file}: {reason}",
    hint: "name a new file in a directory that this process may write to, with --file",
  },
  INSTANCE_RUNNING: {
    source: "config",
    retry: "never",
    template: "take {directory}: {holder} is a Culvert that holds it",
    hint: "stop that one first, or give this node another node.pins and node.cgroups.pods",
  },
  CAPTURE_FAILED: {
    source: "kernel",
    retry: "never",
    template: "capture traffic: {reason}",
    hint: "needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN), cgroup v2 and Linux 5.10 or newer",
  },
  POD_ENROLL_FAILED: {
    source: "kernel",
    retry: "safe",
    template: "enroll pod {pod}: {reason}",
    hint: "check that the pod's netns in mesh.yaml exists and is not this process's own",
  },
  ORIGINAL_DESTINATION_MISSING: {
    source: "downstream",
    retry: "never",
    template: "accept {source} in pod {pod}: no original destination is recorded for it",
    hint: "it was dialled directly and not captured, or its record was pushed out; dial the service's own address",
  },
  NO_ENDPOINT: {
    source: "upstream",
    retry: "safe",
    template: "connect to service {service}: it has no endpoint",
    hint: "start a workload behind it, or correct its endpoints in mesh.yaml",
  },
  CONNECT_REFUSED: {
    source: "upstream",
    retry: "safe",
    template: "connect to {endpoint}: refused",
    hint: "check that the application runs and listens on that port, not on loopback only",
  },
  CONNECT_TIMEOUT: {
    source: "upstream",
    retry: "safe",
    template: "connect to {endpoint}: no answer within {milliseconds} ms",
    hint: "check the route and the firewalls in between, or raise node.connectTimeoutSeconds",
  },
  CONNECT_UNREACHABLE: {
    source: "upstream",
    retry: "safe",
    template: "connect to {endpoint}: {reason}",
    hint: "check the pod's routes",
  },
  CONNECTION_RESET: {
    source: "upstream",
    retry: "reused-only",
    template: "carry {source} to {endpoint}: reset by the {side}",
    hint: "see that application's own log",
  },
  PEER_SILENT: {
    source: "upstream",
    retry: "never",
    template: "carry {source} to {endpoint}: the {side} stopped acknowledging or taking bytes",
    hint: "see that its machine and the network in between are up, and that the application still reads; node.peerTimeoutSeconds says how long that may last",
  },
  TLS_UNTRUSTED: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: its certificate leads to none of our roots",
    hint: "check that both sides belong to the same mesh, and that this side has the current roots",
  },
  TLS_EXPIRED: {
    source: "peer",
    retry: "safe",
    template: "agree on TLS with {peer}: its certificate has expired",
    hint: "see why that side no longer renews it, and compare the clocks",
  },
  TLS_NOT_YET_VALID: {
    source: "peer",
    retry: "safe",
    template: "agree on TLS with {peer}: its certificate is not valid yet",
    hint: "compare the clocks of both machines",
  },
  TLS_WRONG_USAGE: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: its certificate is for another usage",
    hint: "it needs the extended key usages clientAuth and serverAuth",
  },
  TLS_NO_CERTIFICATE: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: it has no certificate",
    hint: "enroll the workload that dialled, or dial it through the mesh",
  },
  TLS_BAD_CERTIFICATE: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: its certificate is malformed or breaks a rule",
    hint: "look at it with openssl x509 -text",
  },
  TLS_VERSION: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: it cannot speak TLS 1.3",
    hint: "update it",
  },
  TLS_NOTHING_IN_COMMON: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: no cipher suite, group or signature algorithm in common",
    hint: "it needs AES-GCM, and X25519 or P-256",
  },
  TLS_APPLICATION_PROTOCOL: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: no application protocol (ALPN) in common",
    hint: "check that the other side is a mesh proxy",
  },
  TLS_NOT_TLS: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: what it sends is no TLS",
    hint: "check that the other side is a mesh proxy, and which port was dialled",
  },
  TLS_PROTOCOL: {
    source: "peer",
    retry: "never",
    template: "speak TLS with {peer}: it broke the protocol (alert {alert})",
    hint: "see which software speaks there, and whether something in between changes bytes",
  },
  TLS_TIMEOUT: {
    source: "peer",
    retry: "safe",
    template: "agree on TLS with {peer}: not done within {milliseconds} ms",
    hint: "see that its machine is not overloaded",
  },
  TLS_TRUNCATED: {
    source: "peer",
    retry: "never",
    template: "carry bytes of {peer}: its connection ended without close_notify",
    hint: "what came may be incomplete; see whether that side or something in between crashed",
  },
  TLS_REFUSED_BY_PEER: {
    source: "peer",
    retry: "never",
    template: "agree on TLS with {peer}: it refused with alert {alert}",
    hint: "see the log of that side",
  },
  TLS_NO_CONTEXT: {
    source: "internal",
    retry: "safe",
    template: "agree on TLS with {peer}: this side has no certificate to do it with, or no memory",
    hint: "see why no identity was issued",
  },
  LIMIT_REACHED: {
    source: "internal",
    retry: "safe",
    template: "carry {source} to {endpoint}: out of {resource}",
    hint: "raise the limit or run more workers",
  },
  WORKER_FAILED: {
    source: "internal",
    retry: "never",
    template: "worker {worker} failed: {reason}",
    hint: "a defect of Culvert: report it with the stack; new connections pass unproxied until it is started again",
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorTable;

/** The names between braces in a template. */
type Placeholders<T extends string> = T extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never;
export type ErrorDetails<C extends ErrorCode> = Readonly<
  Record<Placeholders<(typeof errorTable)[C]["template"]>, string | number>
>;

export class CulvertError extends Error {
  readonly code: ErrorCode;
  readonly source: ErrorSource;
  readonly retry: ErrorRetry;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CulvertError";
    this.code = code;
    this.source = errorTable[code].source;
    this.retry = errorTable[code].retry;
  }
}

/** The error of that code, its message made of the code's template and hint. `cause` is what was caught, if anything. */
export function culvertError<C extends ErrorCode>(code: C, details: ErrorDetails<C>, cause?: unknown): CulvertError {
  return new CulvertError(code, describeError(code, details), cause === undefined ? {} : { cause });
}

export function describeError<C extends ErrorCode>(code: C, details: ErrorDetails<C>): string {
  const { template, hint } = errorTable[code];
  const values = new Map<string, string | number>(Object.entries(details));
  return `${template.replace(/\{(\w+)\}/g, (_, name: string) => String(values.get(name)))}; ${hint}`;
}
