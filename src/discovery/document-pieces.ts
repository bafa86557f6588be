// The pieces of a mesh.yaml, of which those are taken over from the text before that stand in what both texts begin or end
// with. Where a piece ends is told by the line after it, so the last piece of the common beginning is cut again; what follows
// the middle is cut as before when the middle ends in the same place of the document.
// Offsets are bytes. Text is cut as Latin-1, one character a byte: all that the cuts depend on is ASCII.

import { type Entry, readEntry } from "./entry.ts";
import { beginning, isComplete, type ListName, type Place, splitLines } from "./split-document.ts";

interface Passage {
  readonly kind: "rest" | "head";
  readonly bytes: number;
  readonly text: string;
}

interface EntryPiece {
  readonly kind: ListName;
  readonly bytes: number;
  readonly entry: Entry;
}

export type Piece = Passage | EntryPiece;

export interface Pieces {
  readonly source: Buffer;
  readonly all: readonly Piece[];
}

export interface ChangedPieces extends Pieces {
  /** Entries that only the pieces before had, and those that only these have. */
  readonly removed: readonly Entry[];
  readonly added: readonly Entry[];
}

const none: Pieces = { source: Buffer.alloc(0), all: [] };

/** Undefined: the text cannot be taken apart, or an entry is not well. */
export function piecesOf(source: Buffer, before: Pieces = none): ChangedPieces | undefined {
  const { from, to } = unlike(before, source);
  return changedBetween(source, before, from, to);
}

/** What is not entries: read as it is, a document without these lists. */
export function restOf(pieces: readonly Piece[]): string {
  let text = "";
  for (const piece of pieces) if (piece.kind === "rest") text += piece.text;
  return text;
}

/** The pieces before `from` and from `to` on are the same. */
function changedBetween(source: Buffer, before: Pieces, from: Seam, to: Seam): ChangedPieces | undefined {
  const { all } = before;
  const [start, end] = [from.offset, source.length - (before.source.length - to.offset)];
  const text = source.toString("latin1", start, end);
  const split = splitLines(text, placeBefore(all, from.index));
  if (split === undefined) return undefined;
  if (to.index === all.length) {
    if (!isComplete(split.to)) return undefined;
  } else if (!isPlaceOf(split.to, before, to) || (text !== "" && !text.endsWith("\n"))) {
    return changedBetween(source, before, from, { index: all.length, offset: before.source.length });
  }
  const known = entriesByText(before, from, to);
  const middle: Piece[] = [];
  const added: Entry[] = [];
  for (const cut of split.cuts) {
    const { kind } = cut;
    const bytes = cut.end - cut.start;
    const read = () => source.toString("utf8", start + cut.start, start + cut.end);
    if (kind === "rest" || kind === "head") {
      middle.push({ kind, bytes, text: kind === "rest" ? read() : "" });
      continue;
    }
    const key = text.slice(cut.start, cut.end);
    let entry = known[kind].get(key);
    // Another of the same text is another entry, with a name that is taken.
    if (entry !== undefined) known[kind].delete(key);
    else {
      entry = readEntry(kind, read());
      if (entry === undefined) return undefined;
      added.push(entry);
    }
    middle.push({ kind, bytes, entry });
  }
  return {
    source,
    all: [...all.slice(0, from.index), ...middle, ...all.slice(to.index)],
    removed: [...known.workloads.values(), ...known.services.values()],
    added,
  };
}

/** Between two pieces: before the one of that index. */
interface Seam {
  readonly index: number;
  readonly offset: number;
}

/** What has to be cut: from an entry that both begin with, with one more before the first difference, to one that both end with. */
function unlike({ source, all }: Pieces, next: Buffer): { readonly from: Seam; readonly to: Seam } {
  const prefix = commonPrefix(source, next);
  const suffix = commonSuffix(source, next, Math.min(source.length, next.length) - prefix);
  let from: Seam = { index: 0, offset: 0 };
  let to: Seam = { index: all.length, offset: source.length };
  let offset = 0;
  for (let index = 0; index < all.length; index++) {
    const piece = all[index]!;
    const end = offset + piece.bytes;
    if (isEntry(piece)) {
      if (end <= prefix) from = { index, offset };
      else if (offset >= source.length - suffix) {
        to = { index, offset };
        break;
      }
    }
    offset = end;
  }
  return { from, to };
}

export function isEntry(piece: Piece): piece is EntryPiece {
  return piece.kind !== "rest" && piece.kind !== "head";
}

/** The first line from there on says how deep its list is indented. */
function placeBefore(pieces: readonly Piece[], index: number): Place {
  const piece = pieces[index];
  if (piece === undefined || !isEntry(piece)) return beginning;
  return { found: listsBefore(pieces, index), list: piece.kind, indent: -1 };
}

function isPlaceOf(place: Place, { source, all }: Pieces, { index, offset }: Seam): boolean {
  let indent = 0;
  while (source[offset + indent] === 0x20) indent++;
  const found = listsBefore(all, index);
  return (
    place.list === all[index]!.kind &&
    (place.indent < 0 || place.indent === indent) &&
    place.found.length === found.length &&
    found.every((it) => place.found.includes(it))
  );
}

/** Those whose entries stand before the piece, and the one that it is in. */
function listsBefore(pieces: readonly Piece[], index: number): ListName[] {
  const found = new Set<ListName>();
  for (let i = 0; i <= index; i++) {
    const piece = pieces[i]!;
    if (isEntry(piece)) found.add(piece.kind);
  }
  return [...found];
}

function entriesByText({ source, all }: Pieces, from: Seam, to: Seam): Record<ListName, Map<string, Entry>> {
  const found = { workloads: new Map<string, Entry>(), services: new Map<string, Entry>() };
  let offset = from.offset;
  for (const piece of all.slice(from.index, to.index)) {
    const end = offset + piece.bytes;
    if (isEntry(piece)) found[piece.kind].set(source.toString("latin1", offset, end), piece.entry);
    offset = end;
  }
  return found;
}

const bytesAtOnce = 1 << 15;

function commonPrefix(a: Buffer, b: Buffer): number {
  const length = Math.min(a.length, b.length);
  let at = 0;
  for (let end = bytesAtOnce; end < length && a.compare(b, at, end, at, end) === 0; end += bytesAtOnce) at = end;
  while (at < length && a[at] === b[at]) at++;
  return at;
}

function commonSuffix(a: Buffer, b: Buffer, limit: number): number {
  let same = 0;
  const isSame = (from: number, to: number) =>
    a.compare(b, b.length - to, b.length - from, a.length - to, a.length - from) === 0;
  while (same + bytesAtOnce <= limit && isSame(same, same + bytesAtOnce)) same += bytesAtOnce;
  while (same < limit && a[a.length - 1 - same] === b[b.length - 1 - same]) same++;
  return same;
}
