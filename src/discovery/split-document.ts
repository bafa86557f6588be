// Takes a mesh.yaml apart into its workloads and services without reading them, so that those which did not change need not be
// read again: of 10,000 workloads and 5,000 services the YAML alone is more than a second of CPU.
// In a valid document a line that is indented as the list's first "-" begins the next entry, whatever stands in between:
// scalars of several lines are indented deeper. What is not plainly so is not taken apart, and an invalid document shows itself
// when its pieces are read.

export type ListName = "workloads" | "services";

/** `head`: what opens a list, up to its first entry. A list that is not written as a block is part of the `rest`. */
export type PieceKind = "rest" | "head" | ListName;

export interface Cut {
  readonly kind: PieceKind;
  readonly start: number;
  readonly end: number;
}

/** Where in the document the beginning of a line is. */
export interface Place {
  /** Lists that have begun above. */
  readonly found: readonly ListName[];
  /** The one it is in. */
  readonly list: ListName | undefined;
  /** Of the list's entries; negative: before the first. */
  readonly indent: number;
}

export const beginning: Place = { found: [], list: undefined, indent: -1 };

const lists: readonly ListName[] = ["workloads", "services"];
/** Several documents, directives, keys that say that they are keys, and line breaks and indentation of another kind. */
const unusual = /^(?:---|\.\.\.|%|[?:])|[\r\t]/m;

const newline = 10;
const space = 32;
const hash = 35;
const dash = 45;

/** The pieces of whole lines, one after another, and where the line after them is. Undefined: they cannot be taken apart. */
export function splitLines(
  text: string,
  from: Place,
): { readonly cuts: readonly Cut[]; readonly to: Place } | undefined {
  if (unusual.test(text)) return undefined;
  let { found, list, indent } = from;
  let kind: PieceKind = list === undefined ? "rest" : indent < 0 ? "head" : list;
  let start = 0;
  const cuts: Cut[] = [];
  const cut = (at: number, next: PieceKind) => {
    if (at > start) cuts.push({ kind, start, end: at });
    kind = next;
    start = at;
  };
  for (let at = 0, next = 0; at < text.length; at = next) {
    const end = text.indexOf("\n", at);
    next = end < 0 ? text.length : end + 1;
    let first = at;
    while (text.charCodeAt(first) === space) first++;
    const code = text.charCodeAt(first);
    if (first >= text.length || code === newline || code === hash) continue;
    const column = first - at;
    const isEntry = code === dash && (first + 1 >= next || isBlank(text.charCodeAt(first + 1)));
    if (list !== undefined) {
      if (indent < 0) {
        if (!isEntry) return undefined; // Not a list.
        indent = column;
      }
      if (isEntry && column === indent) {
        cut(at, list);
        continue;
      }
      if (column > indent) continue;
      if (column > 0 || isEntry) return undefined;
      cut(at, "rest");
      list = undefined;
      indent = -1;
    }
    if (column > 0) continue;
    const name = listNamed(text.slice(at, end < 0 ? text.length : end));
    if (name === undefined) continue;
    if (found.includes(name)) return undefined;
    cut(at, "head");
    list = name;
    found = [...found, name];
  }
  cut(text.length, kind);
  return { cuts, to: { found, list, indent } };
}

/** Whether a document may end there. */
export function isComplete({ list, indent }: Place): boolean {
  return list === undefined || indent >= 0;
}

function listNamed(line: string): ListName | undefined {
  return lists.find((name) => line.startsWith(`${name}:`) && /^ *(?: #.*)?$/.test(line.slice(name.length + 1)));
}

function isBlank(code: number): boolean {
  return code === space || code === newline;
}
