// Every error Culvert can report, in one table: the code is the same in log, metric, CLI and docs. Codes are added, never
// renamed or reused. A message says what was attempted, on what and why it failed; the hint says what to do about it.

/** Where the cause lies. */
export type ErrorSource = "downstream" | "upstream" | "internal" | "kernel" | "config";
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
    hint: "check the path given with --config and its permissions",
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
    template: "carry {source} to {endpoint}: the {side} stopped acknowledging",
    hint: "see that its machine and the network in between are up",
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
