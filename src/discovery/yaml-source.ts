// A YAML 1.2 document that remembers where everything stood, so that whoever checks its values can say line and column.

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  visit,
} from "yaml";
import type { ConfigProblem } from "./config-error.ts";

export type DocumentPath = readonly (string | number)[];

export class YamlSource {
  /** The document as plain values; undefined when the text is no YAML at all. */
  readonly value: unknown;
  /** Faults of the YAML itself, unknown tags and repeated keys included. */
  readonly problems: readonly ConfigProblem[];
  readonly #document: Document.Parsed<ParsedNode, true>;
  readonly #lines: LineCounter;

  constructor(text: string) {
    this.#lines = new LineCounter();
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      stringKeys: true,
      logLevel: "error", // Problems are told as such.
    });
    const problems = [...this.#document.errors, ...this.#document.warnings].map((it) =>
      this.#problemAt(it.pos[0], [], `${lowerFirst(it.message)}; correct the YAML`),
    );
    visit(this.#document, {
      Alias: (_, alias) => {
        if (alias.resolve(this.#document) !== undefined) return;
        problems.push(
          this.#problemAt(
            startOf(alias) ?? 0,
            [],
            `alias *${alias.source} refers to nothing above it; correct the YAML`,
          ),
        );
      },
    });
    this.value = undefined;
    try {
      this.value = this.#document.toJS();
    } catch (error) {
      // Aliases that multiply beyond reason.
      if (problems.length === 0)
        problems.push(
          this.#problemAt(
            0,
            [],
            `${lowerFirst(error instanceof Error ? error.message : String(error))}; correct the YAML`,
          ),
        );
    }
    this.problems = problems;
  }

  /** `at` key: the key itself rather than its value. What is not there is placed where it should be: at what would hold it. */
  problem(path: DocumentPath, at: "key" | "value", message: string): ConfigProblem {
    return this.#problemAt(this.#offsetOf(path, at), path, message);
  }

  #problemAt(offset: number, path: DocumentPath, message: string): ConfigProblem {
    const { line, col } = this.#lines.linePos(offset);
    return { line, column: col, path: formatPath(path), message };
  }

  #offsetOf(path: DocumentPath, at: "key" | "value"): number {
    let node: unknown = this.#document.contents;
    let offset = startOf(node) ?? 0;
    for (const [depth, step] of path.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document);
      if (isMap(node)) {
        const pair = node.items.find((it) => isScalar(it.key) && String(it.key.value) === String(step));
        if (pair === undefined) break;
        const keyOffset = startOf(pair.key) ?? offset;
        if (at === "key" && depth === path.length - 1) return keyOffset;
        node = pair.value;
        offset = startOf(node) ?? keyOffset;
      } else if (isSeq(node) && typeof step === "number") {
        node = node.items[step];
        offset = startOf(node) ?? offset;
      } else {
        break;
      }
    }
    return offset;
  }
}

function startOf(node: unknown): number | undefined {
  return typeof node === "object" && node !== null && "range" in node && Array.isArray(node.range)
    ? (node.range[0] as number)
    : undefined;
}

/** `workloads[0].addresses[1]` */
export function formatPath(path: DocumentPath): string {
  return path.map((step, i) => (typeof step === "number" ? `[${step}]` : i === 0 ? step : `.${step}`)).join("");
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
