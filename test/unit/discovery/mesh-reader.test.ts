// A mesh.yaml that is read again after an edit says what it says when it is read for the first time, and as a whole.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { ConfigError } from "../../../src/discovery/config-error.ts";
import { type LoadedMesh, parseMesh } from "../../../src/discovery/file-source.ts";
import { MeshReader } from "../../../src/discovery/mesh-reader.ts";
import { changeOf } from "../../../src/mesh/mesh-delta.ts";
import { labelOf } from "../../../src/mesh/snapshot.ts";

const head = "node: { name: a, cgroups: { pods: /p } }\n";

type Outcome = { readonly loaded: LoadedMesh } | { readonly problems: unknown };

function outcomeOf(load: () => LoadedMesh): Outcome {
  try {
    return { loaded: load() };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { problems: error.problems };
  }
}

/** A tab keeps a document from being taken apart. */
const asWhole = (text: string) => `${text}#\t\n`;

/** A file in the course of its edits. */
class Edited {
  readonly #reader = new MeshReader();
  #running: LoadedMesh | undefined;
  good = 0;

  /** Whether it is good. */
  becomes(text: string): boolean {
    const before = this.#running;
    const again = outcomeOf(() => parseMesh(text, "mesh.yaml", before, this.#reader));
    assert.deepEqual(
      again,
      outcomeOf(() => parseMesh(text, "mesh.yaml", before)),
      text,
    );
    if (text.endsWith("\n")) {
      const whole = outcomeOf(() => parseMesh(asWhole(text), "mesh.yaml", before));
      // The problems of broken YAML may name its end.
      if ("loaded" in again || "loaded" in whole) assert.deepEqual(again, whole, text);
    }
    if (!("loaded" in again)) return false;
    this.good++;
    this.#running = again.loaded;
    return true;
  }
}

const names = ["v", "w", "x", "y", "z"];
const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "fd00::1", "fd00::2");
const namespace = fc.constantFrom("default", "default", "other");
const label = fc.dictionary(fc.constantFrom("app", "tier"), fc.constantFrom("p", "q"), { maxKeys: 2 });
const workload = fc.record(
  {
    name: fc.constantFrom(...names),
    namespace,
    node: fc.constantFrom("a", "a", "b", "lost"),
    addresses: fc.array(address, { minLength: 1, maxLength: 2 }),
    netns: fc.constantFrom("/n/1", "/n/2"),
    enroll: fc.boolean(),
    zone: fc.constantFrom("one", "two"),
    labels: label,
    ports: fc.array(fc.record({ name: fc.constantFrom("http", "grpc"), port: fc.constantFrom(80, 81) }), {
      maxLength: 2,
    }),
  },
  { requiredKeys: ["name", "node", "addresses", "labels"] },
);
const port = fc.record(
  { port: fc.constantFrom(80, 443), targetPort: fc.constantFrom(8080, "http") },
  { requiredKeys: ["port"] },
);
const service = fc.record({
  name: fc.constantFrom("s", "t", "é", "u"),
  namespace,
  addresses: fc.array(fc.constantFrom("10.96.0.1", "10.96.0.2", "10.96.0.3", "192.0.2.9", "10.0.0.5"), {
    minLength: 1,
    maxLength: 2,
  }),
  ports: fc.array(port, { minLength: 1, maxLength: 2 }),
  selector: fc.option(label),
  endpoints: fc.array(
    fc.oneof(
      fc.constantFrom(...names, "other/v", "default/w"),
      fc.record({ workload: fc.constantFrom(...names), ready: fc.boolean() }),
    ),
    { maxLength: 2 },
  ),
});
type Workload = typeof workload extends fc.Arbitrary<infer T> ? T : never;
type Service = typeof service extends fc.Arbitrary<infer T> ? T : never;

interface Model {
  workloads: Workload[];
  services: Service[];
  nodes: object[];
}

type Edit = (model: Model) => void;
const place = fc.nat({ max: 5 });
const edit: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(place, workload).map(
      ([i, it]) =>
        ({ workloads }: Model) =>
          void workloads.splice(i, 0, it),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(place, service).map(
      ([i, it]) =>
        ({ services }: Model) =>
          void services.splice(i, 0, it),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(place, workload).map(
      ([i, it]) =>
        ({ workloads }: Model) =>
          void workloads.splice(i, 1, it),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(place, service).map(
      ([i, it]) =>
        ({ services }: Model) =>
          void services.splice(i, 1, it),
    ),
  },
  {
    weight: 3,
    arbitrary: place.map(
      (i) =>
        ({ workloads }: Model) =>
          void workloads.splice(i, 1),
    ),
  },
  {
    weight: 2,
    arbitrary: place.map(
      (i) =>
        ({ services }: Model) =>
          void services.splice(i, 1),
    ),
  },
  // Another place in the list, and the addresses of two.
  {
    weight: 2,
    arbitrary: fc.tuple(place, place).map(
      ([from, to]) =>
        ({ workloads }: Model) =>
          void workloads.splice(to, 0, ...workloads.splice(from, 1)),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(place, place).map(([i, j]) => ({ workloads }: Model) => {
      const [a, b] = [workloads[i], workloads[j]];
      if (a === undefined || b === undefined || i === j) return;
      workloads[i] = { ...a, addresses: b.addresses };
      workloads[j] = { ...b, addresses: a.addresses };
    }),
  },
  fc
    .subarray([{ name: "b", addresses: ["192.0.2.9"], zone: "one" }, { name: "c" }])
    .map((nodes) => (model: Model) => void Object.assign(model, { nodes })),
);

function written({ workloads, services, nodes }: Model, indentSeq: boolean): string {
  const lists = {
    ...(nodes.length > 0 ? { nodes } : {}),
    ...(workloads.length > 0 ? { workloads } : {}),
    ...(services.length > 0
      ? {
          services: services.map(({ selector, endpoints, ...it }) => ({
            ...it,
            ...(selector ? { selector } : { endpoints }),
          })),
        }
      : {}),
  };
  return head + (Object.keys(lists).length > 0 ? stringify(lists, { indentSeq }) : "");
}

describe("a mesh.yaml that is read again", () => {
  test("gives what a first reading gives, mesh or problems, after any sequence of edits of its entries", () => {
    let good = 0;
    let bad = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(edit, fc.boolean()), { minLength: 4, maxLength: 20 }),
        fc.boolean(),
        (edits, style) => {
          const model: Model = { workloads: [], services: [], nodes: [] };
          const file = new Edited();
          for (const [change, isMended] of edits) {
            const before = structuredClone(model);
            change(model);
            if (file.becomes(written(model, style))) good++;
            else {
              bad++;
              if (isMended) Object.assign(model, before);
            }
          }
        },
      ),
      { numRuns: 150 },
    );
    assert.ok(good > 150 && bad > 150, `${good} were good, ${bad} were not`);
  });

  test("gives what a first reading gives, wherever bytes are taken out and put in", () => {
    const text = `# é
node: { name: a, cgroups: { pods: /p } }
workloads: # all
  # first
  - name: v
    node: b
    addresses:
      - 10.0.0.1
    labels: { app: p }
  - { name: w, node: b, addresses: [10.0.0.2], labels: { app: p } }
  - name: x
    node: a

    addresses: ["fd00::1"]
# between
services:
- name: s # é
  addresses: [10.96.0.1]
  ports: [{ port: 80 }]
  selector: { app: p }
- { name: t, addresses: [10.96.0.2], ports: [{ port: 80 }], endpoints: [w] }
`;
    const lines = text.split("\n").map((line) => `${line}\n`);
    const piece = fc.oneof(
      fc.string({ unit: fc.constantFrom("-", " ", "\n", "#", "é", "2", "w", '"'), maxLength: 4 }),
      fc.constantFrom(...lines, "workloads:\n", "---\n", "nodes: []\n"),
    );
    const anywhere = fc.record({
      at: fc.nat({ max: text.length }),
      length: fc.constantFrom(0, 0, 1, 2, 30, 90),
      piece,
    });
    const line = fc.constantFrom(
      "# here\n",
      "\n",
      "  - { name: y, node: b, addresses: [10.0.0.9] }\n",
      "- { name: u, addresses: [10.96.0.9], ports: [{ port: 80 }], selector: { app: p } }\n",
    );
    const starts = lines.map((_, i) => lines.slice(0, i).join("").length);
    const between = fc.record({ at: fc.constantFrom(...starts), length: fc.constant(0), piece: line });
    const splice = fc.oneof(anywhere, between);
    for (const { index: at } of text.matchAll(/\n/g)) {
      const file = new Edited();
      file.becomes(text);
      file.becomes(text.slice(0, at) + text.slice(at + 1));
    }
    let good = 0;
    fc.assert(
      fc.property(fc.array(splice, { minLength: 1, maxLength: 6 }), (splices) => {
        const file = new Edited();
        assert.ok(file.becomes(text));
        let now = text;
        for (const { at, length, piece } of splices) {
          const next = now.slice(0, at) + piece + now.slice(at + length);
          // Mostly on from what is good, or nothing ever is again.
          if (file.becomes(next)) now = next;
        }
        good += file.good - 1;
      }),
      { numRuns: 400 },
    );
    assert.ok(good > 150, `${good} were good`);
  });

  test("tells every kind of conflict that an edit brings in, and is well again without it", () => {
    const workloads = `workloads:
  - { name: v, node: a, addresses: [10.0.0.1], labels: { app: p }, netns: /n/1, ports: [{ name: http, port: 80 }] }
  - { name: w, node: b, addresses: [10.0.0.2] }
`;
    const services = `services:
  - { name: s, addresses: [10.96.0.1], ports: [{ port: 80, targetPort: http }], selector: { app: p } }
  - { name: t, addresses: [10.96.0.2], ports: [{ port: 80 }], endpoints: [w] }
`;
    const base = `${head}nodes:\n  - { name: b, addresses: [192.0.2.9] }\n`;
    const workload = (rest: string) => base + workloads + rest + services;
    const service = (rest: string) => base + workloads + services + rest;
    const good = base + workloads + services;
    for (const wrong of [
      workload("  - { name: v, node: a, addresses: [10.0.0.9] }\n"),
      workload("  - { name: x, node: a, addresses: [10.0.0.1] }\n"),
      workload("  - { name: x, node: a, addresses: [10.0.0.9, 10.0.0.9] }\n"),
      workload("  - { name: x, node: a, addresses: [10.96.0.1] }\n"),
      workload("  - { name: x, node: c, addresses: [10.0.0.9] }\n"),
      workload("  - { name: x, node: a, addresses: [10.0.0.9], netns: /n/1 }\n"),
      workload(
        "  - { name: x, node: a, addresses: [10.0.0.9], ports: [{ name: http, port: 1 }, { name: http, port: 2 }] }\n",
      ),
      service("  - { name: s, addresses: [10.96.0.9], ports: [{ port: 80 }], endpoints: [] }\n"),
      service("  - { name: u, addresses: [10.96.0.1], ports: [{ port: 80 }], endpoints: [] }\n"),
      service("  - { name: u, addresses: [10.0.0.1], ports: [{ port: 80 }], endpoints: [] }\n"),
      service("  - { name: u, addresses: [192.0.2.9], ports: [{ port: 80 }], endpoints: [] }\n"),
      service("  - { name: u, addresses: [10.96.0.9], ports: [{ port: 80 }, { port: 80 }], endpoints: [] }\n"),
      service("  - { name: u, addresses: [10.96.0.9], ports: [{ port: 80 }], endpoints: [x] }\n"),
      service("  - { name: u, addresses: [10.96.0.9], ports: [{ port: 80 }], endpoints: [w, default/w] }\n"),
      service("  - { name: u, addresses: [10.96.0.9], ports: [{ port: 80, targetPort: http }], endpoints: [w] }\n"),
      good.replace("name: w,", "name: x,"),
      good.replace("name: http", "name: grpc"),
      good.replace("app: p }, netns", "app: q }, netns").replace("name: w,", "name: w, labels: { app: p },"),
    ]) {
      const file = new Edited();
      assert.deepEqual(
        [good, wrong, good].map((text) => file.becomes(text)),
        [true, false, true],
        wrong,
      );
    }
  });

  test("keeps every workload and service that says what it said as the same object", () => {
    fc.assert(
      fc.property(
        fc.array(workload, { minLength: 3, maxLength: 8 }),
        place,
        place,
        workload,
        (some, from, to, other) => {
          // Each is well beside the others.
          const distinct = (all: Workload[]) =>
            all.map(({ netns: _, ports: __, ...it }, i) => ({
              ...it,
              node: "a",
              name: `n${i}-${it.name}`,
              addresses: [`10.1.0.${i}`],
            }));
          const workloads = distinct(some);
          const services = ["p", "q"].map((app, i) => ({
            name: app,
            addresses: [`10.96.0.${i}`],
            ports: [{ port: 80 }],
            selector: { app },
          }));
          const reader = new MeshReader();
          const load = (running?: LoadedMesh) =>
            parseMesh(head + stringify({ workloads, services }), "mesh.yaml", running, reader);
          const first = load();
          workloads.splice(to, 0, ...workloads.splice(from, 1));
          workloads.splice(
            from,
            1,
            ...distinct([other]).map((it) => ({ ...it, addresses: ["10.2.0.1"], name: "new" })),
          );
          const second = load(first);
          for (const list of ["workloads", "services"] as const) {
            const before = new Map(first.snapshot[list].map((it) => [labelOf(it), it]));
            for (const object of second.snapshot[list]) {
              const former = before.get(labelOf(object));
              if (former !== undefined && isDeepEqual(former, object)) assert.equal(former, object);
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test("has in its change only what changed, and the services that it is behind", () => {
    const reader = new MeshReader();
    const text = `${head}workloads:
  - { name: w, node: b, addresses: [10.0.0.1], labels: { app: x } }
  - { name: v, node: b, addresses: [10.0.0.2], labels: { app: x } }
services:
  - { name: s, addresses: [10.96.0.1], ports: [{ port: 80 }], selector: { app: x } }
  - { name: t, addresses: [10.96.0.2], ports: [{ port: 80 }], endpoints: [w] }
`;
    const first = parseMesh(text, "mesh.yaml", undefined, reader);
    const second = parseMesh(text.replace("10.0.0.2", "10.0.0.3"), "mesh.yaml", first, reader);
    assert.equal(second.snapshot.workloads[0], first.snapshot.workloads[0]);
    assert.equal(second.snapshot.services[1], first.snapshot.services[1]);
    const names = (objects: readonly { name: string }[]) => objects.map(({ name }) => name);
    const { additions, removals } = changeOf(first.snapshot, second.snapshot);
    assert.deepEqual(names(additions.flatMap(({ workloads }) => workloads)), ["v"]);
    assert.deepEqual(names(additions.flatMap(({ services }) => services)), ["s"], "of which v is an endpoint");
    assert.deepEqual(removals, []);
  });

  test("reads two that swap addresses, and one that takes the address and the namespace of one that goes, by themselves", () => {
    const reader = new MeshReader();
    const text = (...of: readonly [string, string, string][]) =>
      `${head}workloads:\n  - { name: z, node: b, addresses: [10.0.0.9] }\n${of
        .map(([name, address, netns]) => `  - { name: ${name}, node: a, addresses: [${address}], netns: ${netns} }\n`)
        .join("")}`;
    let last: LoadedMesh | undefined;
    for (const written of [
      text(["v", "10.0.0.1", "/n/1"], ["w", "10.0.0.2", "/n/2"]),
      text(["v", "10.0.0.2", "/n/2"], ["w", "10.0.0.1", "/n/1"]),
      text(["v", "10.0.0.2", "/n/2"], ["x", "10.0.0.1", "/n/1"]),
    ]) {
      const next = parseMesh(written, "mesh.yaml", last, reader);
      if (last !== undefined) assert.equal(next.snapshot.workloads[0], last.snapshot.workloads[0]);
      last = next;
    }
  });

  test("has the endpoints of a selector in the order of the workloads, also when those only change places", () => {
    const lines = ["v", "w", "x"].map(
      (name, i) => `  - { name: ${name}, node: a, addresses: [10.0.0.${i + 1}], labels: { app: p } }\n`,
    );
    const text = (order: readonly number[]) =>
      `${head}workloads:\n${order.map((i) => lines[i]).join("")}services:
  - { name: s, addresses: [10.96.0.1], ports: [{ port: 80 }], selector: { app: p } }
`;
    const file = new Edited();
    for (const order of [
      [0, 1, 2],
      [1, 0, 2],
      [2, 1, 0],
      [0, 2, 1],
      [1, 0, 2],
    ])
      assert.ok(file.becomes(text(order)));
  });

  for (const [title, text] of [
    ["indented deeper than its lists", ` ${head}workloads:\n  - { name: w, node: a, addresses: [10.0.0.1] }\n`],
    [
      "in flow style before its lists",
      `{ ${head.trim()} }\nworkloads:\n  - { name: w, node: a, addresses: [10.0.0.1] }\n`,
    ],
    [
      "before a key whose value follows its lists",
      `${head}? trustDomain\nworkloads:\n  - { name: w, node: a, addresses: [10.0.0.1] }\n: x.y\n`,
    ],
  ] as const) {
    test(`is broken as a whole when its own part stands ${title}`, () => {
      assert.throws(() => parseMesh(text, "mesh.yaml"), ConfigError);
    });
  }

  test("keeps workloads in flow style when services stand in a block", () => {
    const { snapshot } = parseMesh(
      `${head}workloads: [{ name: w, node: a, addresses: [10.0.0.1], labels: { app: x } }]
services:
  - { name: s, addresses: [10.96.0.1], ports: [{ port: 80 }], selector: { app: x } }
`,
      "mesh.yaml",
    );
    assert.deepEqual(snapshot.services[0]!.endpoints, ["default/w"]);
  });
});

function isDeepEqual(a: unknown, b: unknown): boolean {
  try {
    assert.deepEqual(a, b);
    return true;
  } catch {
    return false;
  }
}
