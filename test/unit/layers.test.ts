// The shape of src/ as design says it: imports point down only, in no circle, and each library has one home.

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "src");

/** Top to bottom. Folders of one layer do not import each other. */
const layers = [
  ["main.ts"],
  ["cli"],
  ["app"],
  ["proxy", "discovery", "identity", "kernel", "admin"],
  ["policy", "mesh", "telemetry"],
  ["runtime"],
];

/** npm packages, each with the one folder that may import it: there it can be replaced. No other package may be imported. */
const homes: Record<string, string> = {
  commander: "cli",
  fflate: "cli",
  yaml: "discovery",
  valibot: "discovery",
  pino: "telemetry",
  "prom-client": "telemetry",
  "node-gyp-build": "runtime",
};

/** Modules that would put Node's own streams and HTTP into the path of the traffic, or a clock and files into pure code. */
const forbidden: Record<string, RegExp> = {
  "proxy/detect": /^node:|\/(runtime|telemetry)\//,
  proxy: /^node:(net|tls|http|https|http2|stream|dgram|dns|child_process|fs)\b/,
  policy: /^node:/,
  mesh: /^node:/,
};

interface Import {
  readonly specifier: string;
  /** A file that is started as a worker is below whoever starts it, but imports nothing from it. */
  readonly isWorker: boolean;
}

/** Imports of any kind in the text of a module, as the formatter writes them. */
function importsOf(text: string): Import[] {
  const code = text.replace(/^\s*(\/\/.*|\/\*\*? [\s\S]*?\*\/)$/gm, "");
  const found = (pattern: RegExp, isWorker: boolean) =>
    [...code.matchAll(pattern)].map((match): Import => ({ specifier: match[1]!, isWorker }));
  return [
    ...found(/^(?:import|export)\s[^;"]*?\bfrom "([^"]+)"/gm, false),
    ...found(/^import "([^"]+)"/gm, false),
    ...found(/\bimport\(\s*"([^"]+)"/g, false),
    ...found(/\b(?:require|createRequire\([^)]*\))\(\s*"([^"]+)"/g, false),
    ...found(/\bnew URL\(\s*"(\.[^"]+)"/g, true),
  ];
}

const files = new Map(
  globSync("**/*.ts", { cwd: root }).map((file) => [file, importsOf(readFileSync(join(root, file), "utf8"))]),
);

const folderOf = (file: string) => file.split("/", 1)[0]!;
const layerOf = (folder: string) => layers.findIndex((layer) => layer.includes(folder));
const isRelative = ({ specifier }: Import) => specifier.startsWith(".");
const targetOf = (file: string, { specifier }: Import) => relative(root, join(root, dirname(file), specifier));
const packageOf = (specifier: string) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

/** `why not` for every import that the rule forbids. */
function violations(rule: (file: string, it: Import) => string | undefined): string[] {
  return [...files].flatMap(([file, imports]) =>
    imports.flatMap((it) => {
      const why = rule(file, it);
      return why === undefined ? [] : `${file} imports ${it.specifier}: ${why}`;
    }),
  );
}

/** Files that import each other in a circle: those that a depth-first search meets again on its own path. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) {
      found.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return found;
}

describe("src", () => {
  test("has no folder that the layers do not know", () => {
    assert.deepEqual(
      [...new Set([...files.keys()].map(folderOf))].filter((it) => layerOf(it) < 0),
      [],
    );
  });

  test("imports point down only, never to a folder of the same layer", () => {
    const rule = (file: string, it: Import) => {
      const [from, to] = [folderOf(file), folderOf(targetOf(file, it))];
      if (!isRelative(it) || from === to || to === "..") return undefined;
      return layerOf(to) > layerOf(from) ? undefined : `${to} is not below ${from}`;
    };
    assert.deepEqual(violations(rule), []);
  });

  test("imports files that exist, in src (but for package.json)", () => {
    const rule = (file: string, it: Import) =>
      !isRelative(it) || files.has(targetOf(file, it)) || it.specifier === "../package.json"
        ? undefined
        : "no such file";
    assert.deepEqual(violations(rule), []);
  });

  test("has no circle of imports, of types neither", () => {
    const graph = [...files].map(
      ([file, imports]) =>
        [file, imports.filter((it) => isRelative(it) && !it.isWorker).map((it) => targetOf(file, it))] as const,
    );
    assert.deepEqual(circles(new Map(graph)), []);
  });

  test("imports each npm package in its home only, and no HTTP framework or other package at all", () => {
    const rule = (file: string, it: Import) => {
      if (isRelative(it) || it.specifier.startsWith("node:")) return undefined;
      const home = homes[packageOf(it.specifier)];
      if (home === undefined) return "give it a home in this test, if it is worth a dependency";
      return home === folderOf(file) ? undefined : `only ${home} imports it`;
    };
    assert.deepEqual(violations(rule), []);
  });

  test("keeps Node's streams and HTTP out of the proxy, and everything of Node out of what is pure", () => {
    const rule = (file: string, it: Import) =>
      [folderOf(file), dirname(file)].some((folder) => forbidden[folder]?.test(it.specifier))
        ? "not in this folder"
        : undefined;
    assert.deepEqual(violations(rule), []);
  });

  test("has no barrel: a module that only hands on others", () => {
    const barrels = [...files.keys()].filter((file) => {
      const code = readFileSync(join(root, file), "utf8").replace(/^\s*\/\/.*$/gm, "");
      return code.replaceAll(/^(?:import|export)\s[^;]*?from "[^"]+";$/gm, "").trim() === "";
    });
    assert.deepEqual(barrels, []);
  });
});

describe("the reading of imports, on which all of the above stands,", () => {
  const cases: readonly (readonly [text: string, specifiers: readonly string[]])[] = [
    ['import { a } from "./a.ts";', ["./a.ts"]],
    ['import {\n  a,\n  type B,\n} from "./a.ts";\nimport * as v from "v";', ["./a.ts", "v"]],
    [
      'import type { A } from "../a.ts";\nexport type { B } from "b";\nexport * from "./c.ts";',
      ["../a.ts", "b", "./c.ts"],
    ],
    ['import "./side.ts";', ["./side.ts"]],
    ['const x = await import("./lazy.ts");', ["./lazy.ts"]],
    ['createRequire(import.meta.url)("addon");', ["addon"]],
    ['new Worker(new URL("./worker.ts", import.meta.url));', ["./worker.ts"]],
    ['// import { a } from "./a.ts";\n/** like\n import { b } from "./b.ts";\n */\nexport const from = "x";', []],
  ];
  for (const [text, specifiers] of cases) {
    test(`finds ${specifiers.join(", ") || "nothing"} in ${JSON.stringify(text)}`, () => {
      assert.deepEqual(
        importsOf(text).map((it) => it.specifier),
        specifiers,
      );
    });
  }

  test("sees a circle of three", () => {
    assert.deepEqual(circles(new Map(Object.entries({ a: ["b"], b: ["c", "d"], c: ["a"], d: [] }))), [
      "a -> b -> c -> a",
    ]);
  });
});
