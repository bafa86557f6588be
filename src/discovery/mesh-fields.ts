// Kinds of value that only workloads and services have: labels, selectors, references, ports by name.

import * as v from "valibot";
import { field, isWorkloadReference, misfit, port, record, workloadReference, yesOrNo } from "./fields.ts";
import { describedAs } from "./json-schema.ts";

/** SPIFFE-ID §2.1. */
export const trustDomain = field(
  'a trust domain such as cluster.local: lower-case letters, digits, "-", "_" and ".", at most 255',
  { type: "string", pattern: "^[-a-z0-9._]{1,255}$" },
  (input) => (typeof input === "string" && /^[-a-z0-9._]{1,255}$/.test(input) ? input : undefined),
);

const namePattern = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/** As in Kubernetes: an optional domain, a slash, a name. */
function isLabelKey(key: string): boolean {
  const parts = key.split("/");
  return (
    parts.length <= 2 && namePattern.test(parts.at(-1)!) && (parts.length === 1 || /^[-a-z0-9.]+$/.test(parts[0]!))
  );
}

function labelMap(wanted: string) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, Readonly<Record<string, string>>>(({ dataset: { value: input }, addIssue, NEVER }) => {
      if (typeof input !== "object" || input === null || Array.isArray(input)) {
        addIssue({ message: `${misfit(input)}; write ${wanted}` });
        return NEVER;
      }
      let isGood = true;
      for (const [key, value] of Object.entries(input)) {
        const place = { type: "object", input: input as Record<string, unknown>, key, value } as const;
        if (!isLabelKey(key)) {
          isGood = false;
          addIssue({
            message: "is no name for a label; write one such as app or example.com/app",
            path: [{ ...place, origin: "key" }],
          });
        }
        if (typeof value !== "string" || (value !== "" && !namePattern.test(value))) {
          isGood = false;
          const hint = 'write letters, digits, "-", "_" and ".", at most 63, quoted if all digits or true or false';
          addIssue({ message: `${misfit(value)}; ${hint}`, path: [{ ...place, origin: "value" }] });
        }
      }
      return isGood ? (input as Readonly<Record<string, string>>) : NEVER;
    }),
    v.description(wanted),
    describedAs({ type: "object", description: wanted, additionalProperties: { type: "string" } }),
  );
}

export const labels = labelMap("labels such as {app: web}");

export const selector = v.pipe(
  labelMap("labels that its workloads have, such as {app: web}"),
  v.check(
    (it) => Object.keys(it).length > 0,
    "is empty and would select every workload; write a label such as app: web",
  ),
  describedAs({ minProperties: 1 }),
);

const maxPortNameLength = 63;

export const targetPort = field(
  "a port such as 8080 or the name of a workload's port such as http",
  { type: ["integer", "string"] },
  (input) => {
    if (typeof input === "string") {
      return /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(input) && /[a-z]/.test(input) && input.length <= maxPortNameLength
        ? input
        : undefined;
    }
    return v.is(port, input) ? (input as number) : undefined;
  },
);

const endpointEntry = record({ workload: workloadReference, ready: v.optional(yesOrNo, true) });

/** `web-1`, or a mapping that says more. */
export const endpoint = v.pipe(
  v.unknown(),
  v.rawTransform<unknown, v.InferOutput<typeof endpointEntry>>(({ dataset: { value: input }, addIssue, NEVER }) => {
    if (isWorkloadReference(input)) return { workload: input, ready: true };
    const isMapping = typeof input === "object" && input !== null && !Array.isArray(input);
    const parsed = v.safeParse(isMapping ? endpointEntry : workloadReference, input);
    for (const { message, path } of parsed.issues ?? []) {
      // Paths of valibot's own issues fit; its types cannot know.
      addIssue(path === undefined ? { message } : { message, path: path as never });
    }
    return parsed.success && typeof parsed.output === "object" ? parsed.output : NEVER;
  }),
  describedAs({
    anyOf: [v.getMetadata(workloadReference), v.getMetadata(endpointEntry)],
  }),
);
