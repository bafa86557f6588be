// Takes a mesh.yaml apart into its workloads and services without reading them, so that those which did not change need not be
// read again: of 10,000 workloads and 5,000 services the YAML alone is more than a second of CPU.
// In a valid document a line that is indented as the list's first "-" begins the next entry, whatever stands in between:
// scalars of several lines are indented deeper. What is not plainly so is not taken apart, and an invalid document shows itself
// when its pieces are read.

export interface SplitDocument {
  /** All but the lists. */
  readonly rest: string;
  /** The text of each entry, its "-" included. A list that is not written as a block is in `rest`. */
  readonly lists: ReadonlyMap<ListName, readonly string[]>;
}

export type ListName = "workloads" | "services";

const lists: readonly ListName[] = ["workloads", "services"];
/** Several documents, directives, and line breaks and indentation of another kind. */
const unusual = /^(?:---|\.\.\.|%)|[\r\t]/m;

const newline = 10;
const space = 32;
const hash = 35;
const dash = 45;

/** Undefined: it cannot be taken apart. */
export function splitDocument(text: string): SplitDocument | undefined {
  if (unusual.test(text)) return undefined;
  const found = new Map<ListName, string[]>();
  let rest = "";
  let list: string[] | undefined;
  let indent = -1;
  /** Of what is not yet in `rest` or in the list: the entry under way, or what stands between lists. */
  let start = 0;
  const endList = (at: number): boolean => {
    if (indent < 0) return false; // No entry: not a list.
    list!.push(text.slice(start, at));
    list = undefined;
    start = at;
    return true;
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
        if (!isEntry) return undefined;
        indent = column;
        start = at;
        continue;
      }
      if (isEntry && column === indent) {
        list.push(text.slice(start, at));
        start = at;
        continue;
      }
      if (column > indent) continue;
      if (column > 0 || isEntry || !endList(at)) return undefined;
    }
    if (column > 0) continue;
    const name = listNamed(text.slice(at, end < 0 ? text.length : end));
    if (name === undefined) continue;
    if (found.has(name)) return undefined;
    rest += text.slice(start, at);
    list = [];
    indent = -1;
    found.set(name, list);
  }
  if (list === undefined) rest += text.slice(start);
  else if (!endList(text.length)) return undefined;
  return { rest, lists: found };
}

function listNamed(line: string): ListName | undefined {
  return lists.find((name) => line.startsWith(`${name}:`) && /^ *(?: #.*)?$/.test(line.slice(name.length + 1)));
}

function isBlank(code: number): boolean {
  return code === space || code === newline;
}
