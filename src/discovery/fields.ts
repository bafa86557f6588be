// The kinds of value that mesh.yaml is made of, as valibot schemas that yield what the rest of Culvert wants (an IpAddress,
// not its text) and whose messages say what is wrong and what to write instead. Each also says itself as JSON Schema.

import * as v from "valibot";
import {
  type Cidr,
  formatCidr,
  type IpAddress,
  networkAddress,
  parseAddress,
  parseCidr,
  sameAddress,
  unroutableKind,
} from "../mesh/address.ts";
import { describedAs, type JsonSchema, jsonSchemaOf } from "./json-schema.ts";
import { nearest } from "./nearest.ts";

/** Why a value is refused. */
export class Refusal {
  readonly why: string;
  constructor(why: string) {
    this.why = why;
  }
}

/**
 * A value without parts. `wanted` completes "write …"; `read` yields undefined, or a Refusal that knows more, for what it cannot
 * use; `shape` is what JSON Schema can say of it.
 */
export function field<T>(wanted: string, shape: JsonSchema, read: (input: unknown) => T | Refusal | undefined) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const input = dataset.value;
      const value = read(input);
      if (value !== undefined && !(value instanceof Refusal)) return value;
      const why = value instanceof Refusal ? `${describe(input)} ${value.why}` : misfit(input);
      addIssue({ message: `${why}; write ${wanted}` });
      return NEVER;
    }),
    v.description(wanted),
    describedAs({ ...shape, description: wanted }),
  );
}

export function misfit(input: unknown): string {
  return input === null ? "there is no value" : `${describe(input)} does not fit here`;
}

function describe(input: unknown): string {
  if (Array.isArray(input)) return "a list";
  if (typeof input === "object" && input !== null) return "a mapping";
  return JSON.stringify(input) ?? String(input);
}

/**
 * A mapping with exactly these keys. valibot's own schemas take a list for a mapping, report only the first unknown key and
 * overlook some (`constructor`), so that part is done here.
 */
export function record<const E extends v.ObjectEntries>(entries: E) {
  const known = Object.keys(entries);
  const values = v.object(entries, ({ path }) => {
    const entry = entries[String(path?.at(-1)?.key)] as v.GenericSchema | undefined;
    return `is missing; write ${(entry && v.getDescription(entry)) ?? "a mapping"}`;
  });
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, v.InferOutput<typeof values>>(({ dataset: { value: input }, addIssue, NEVER }) => {
      if (typeof input !== "object" || input === null || Array.isArray(input)) {
        addIssue({ message: `${misfit(input)}; write a mapping of ${known.join(", ")}` });
        return NEVER;
      }
      for (const [key, value] of Object.entries(input)) {
        if (known.includes(key)) continue;
        const meant = nearest(key, known);
        const hint = meant === undefined ? `write one of ${known.join(", ")}, or nothing` : `did you mean ${meant}?`;
        const place = { type: "object", origin: "key", input: input as Record<string, unknown>, key, value } as const;
        addIssue({ message: `is no key known here; ${hint}`, path: [place] });
      }
      const parsed = v.safeParse(values, input);
      for (const { message, path } of parsed.issues ?? [])
        addIssue(path === undefined ? { message } : { message, path });
      return parsed.success ? parsed.output : NEVER;
    }),
    describedAs({
      type: "object",
      properties: Object.fromEntries(known.map((key) => [key, jsonSchemaOf(entries[key] as v.GenericSchema)])),
      required: known.filter((key) => (entries[key] as v.GenericSchema).type !== "optional"),
      additionalProperties: false,
    }),
  );
}

/** `what` is the plural of the items. */
export function list<const S extends v.GenericSchema>(item: S, what: string) {
  const wanted = `a list of ${what}`;
  return v.pipe(
    v.array(item, ({ input }) => `${misfit(input)}; write ${wanted}`),
    v.description(wanted),
    describedAs({ type: "array", description: wanted, items: jsonSchemaOf(item) }),
  );
}

/** A list with at least one item. */
export function someOf<const S extends v.GenericSchema>(item: S, what: string) {
  return v.pipe(
    list(item, what),
    v.minLength(1, `is empty; write at least one of ${what}`),
    describedAs({ minItems: 1 }),
  );
}

const namePattern = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** As in Kubernetes (RFC 1123): names become parts of labels, paths and host names. */
export function name(example: string) {
  return field(
    `a name such as ${example}: lower-case letters, digits, "-" and ".", at most 253, quoted if all digits`,
    { type: "string", pattern: namePattern.source },
    (input) => (typeof input === "string" && namePattern.test(input) ? input : undefined),
  );
}

/** `name` or `namespace/name`. */
export function isWorkloadReference(input: unknown): input is string {
  if (typeof input !== "string") return false;
  const parts = input.split("/");
  return parts.length <= 2 && parts.every((it) => namePattern.test(it));
}

export const workloadReference = field(
  "the name of a workload such as web-1 or other-namespace/web-1",
  { type: "string" },
  (input) => (isWorkloadReference(input) ? input : undefined),
);

export const address = field<IpAddress>(
  'an IP address such as 10.244.0.2 or "fd00::2"',
  { type: "string" },
  (input) => {
    const parsed = typeof input === "string" ? parseAddress(input) : undefined;
    const kind = parsed === undefined ? undefined : unroutableKind(parsed);
    return kind === undefined ? parsed : new Refusal(`is a ${kind} address`);
  },
);

export const cidr = field<Cidr>('a network such as 10.244.0.0/16 or "fd00::/64"', { type: "string" }, (input) => {
  const parsed = typeof input === "string" ? parseCidr(input) : undefined;
  if (parsed === undefined) return undefined;
  const network = { address: networkAddress(parsed), prefixLength: parsed.prefixLength };
  if (!sameAddress(network.address, parsed.address)) {
    return new Refusal(`has host bits: its network is ${formatCidr(network)}`);
  }
  return network;
});

/** Without surprises: no "." or ".." and no empty part. */
const pathPattern = /^(\/(?!\.{1,2}(\/|$))[^/\0]+)+$/;

export function absolutePath(example: string) {
  return field(`an absolute path such as ${example}`, { type: "string", pattern: "^/" }, (input) =>
    typeof input === "string" && pathPattern.test(input) ? input : undefined,
  );
}

/** Of a bpf file system, which knows no dots in names. */
export const pinsPath = field(
  "an absolute path without dots, below /sys/fs/bpf, such as /sys/fs/bpf/culvert/a",
  { type: "string", pattern: "^/[^.]*$" },
  (input) => (typeof input === "string" && pathPattern.test(input) && !input.includes(".") ? input : undefined),
);

/** sun_path of sockaddr_un, without its terminating zero. */
const maxSocketPathBytes = 107;

export function fitsSocketPath(path: string): boolean {
  return Buffer.byteLength(path) <= maxSocketPathBytes;
}

export const socketPath = field(
  `an absolute path of at most ${maxSocketPathBytes} bytes`,
  { type: "string", pattern: "^/" },
  (input) => {
    if (typeof input !== "string" || !pathPattern.test(input)) return undefined;
    return fitsSocketPath(input) ? input : new Refusal("is too long for a socket");
  },
);

export function wholeNumber(min: number, max: number) {
  return field(`a whole number from ${min} to ${max}`, { type: "integer", minimum: min, maximum: max }, (input) =>
    Number.isInteger(input) && (input as number) >= min && (input as number) <= max ? (input as number) : undefined,
  );
}

export const port = wholeNumber(1, 65535);

export const portRange = field(
  'a port such as 5432 or a range such as "8000-8100"',
  { type: ["integer", "string"] },
  (input) => {
    const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(
      typeof input === "number" ? String(input) : typeof input === "string" ? input : "",
    );
    if (match === null) return undefined;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (from < 1 || to > 65535) return new Refusal("is outside 1 to 65535");
    return from <= to ? { from, to } : new Refusal("runs backwards");
  },
);

/** Seconds in the file, milliseconds in the program. */
export function seconds(min: number, max: number) {
  return field(`a number of seconds from ${min} to ${max}`, { type: "number", minimum: min, maximum: max }, (input) =>
    typeof input === "number" && input >= min && input <= max ? Math.round(input * 1000) : undefined,
  );
}

/** An IP address of this machine and a port. */
export const socketAddress = field(
  'an IP address and a port such as "127.0.0.1:9901" or "[::1]:9901"',
  { type: "string" },
  (input) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(typeof input === "string" ? input : "");
    const host = match?.[1] ?? match?.[2];
    const parsed = host === undefined ? undefined : parseAddress(host);
    const number = Number(match?.[3]);
    if (host === undefined || parsed === undefined || number < 1 || number > 65535) return undefined;
    return { host, port: number };
  },
);

export const yesOrNo = field("true or false", { type: "boolean" }, (input) =>
  typeof input === "boolean" ? input : undefined,
);

export function oneOf<const T extends string>(...words: readonly T[]) {
  return field(`one of ${words.join(", ")}`, { enum: words }, (input) => {
    const word = words.find((it) => it === input);
    const meant = word === undefined && typeof input === "string" ? nearest(input, words) : undefined;
    return word ?? (meant === undefined ? undefined : new Refusal(`does not fit here (did you mean ${meant}?)`));
  });
}
