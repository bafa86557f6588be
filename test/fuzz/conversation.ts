// What both sides of a connection say, segment by segment, as fuzzing keeps, reads and changes it.
// As text: `>` and hex for the client, `<` and hex for the server, a space between.

export interface Segment {
  readonly isClient: boolean;
  readonly bytes: Buffer;
}
export type Conversation = readonly Segment[];

/** Numbers in [0, 1). */
export type Random = () => number;

export function parseConversation(text: string): Conversation {
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => ({ isClient: word[0] === ">", bytes: Buffer.from(word.slice(1), "hex") }));
}

export function formatConversation(conversation: Conversation): string {
  return conversation.map(({ isClient, bytes }) => `${isClient ? ">" : "<"}${bytes.toString("hex")}`).join(" ");
}

const words = [
  "GET ",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  " HTTP/1.1\r\n",
  "HTTP/1.1 200",
  "\r\n",
  " ",
  "\0",
  "\x16\x03\x01",
  "\x01\0\0",
  "\0\0\x06\x04\0\0\0\0\0",
];
const maxSegments = 8;
const maxBytes = 4096;

/** One to four changes; `other` is where pieces are taken from. */
export function mutate(conversation: Conversation, other: Conversation, random: Random): Conversation {
  const below = (n: number) => Math.floor(random() * n);
  let changed = [...conversation];
  for (let count = 1 + below(4); count > 0; count--) {
    if (changed.length === 0)
      changed = [{ isClient: random() < 0.5, bytes: Buffer.from(words[below(words.length)]!, "latin1") }];
    const at = below(changed.length);
    const { isClient, bytes } = changed[at]!;
    const [from, to] = [below(bytes.length + 1), below(bytes.length + 1)].toSorted((a, b) => a - b) as [number, number];
    const replaceBy = (...parts: Uint8Array[]) => {
      changed[at] = { isClient, bytes: Buffer.concat(parts).subarray(0, maxBytes) };
    };
    const head = bytes.subarray(0, from);
    const tail = bytes.subarray(to);
    switch (below(9)) {
      case 0:
        if (bytes.length > 0)
          replaceBy(
            bytes.subarray(0, from),
            Uint8Array.of((bytes[from] ?? 0) ^ (1 << below(8))),
            bytes.subarray(from + 1),
          );
        break;
      case 1:
        replaceBy(head, Uint8Array.of(below(256)), bytes.subarray(from + 1));
        break;
      case 2:
        replaceBy(head, tail);
        break;
      case 3:
        replaceBy(head, Buffer.from(words[below(words.length)]!, "latin1"), bytes.subarray(from));
        break;
      case 4:
        replaceBy(head, bytes.subarray(from, to), bytes.subarray(from, to), tail);
        break;
      case 5: {
        const piece = other[below(Math.max(other.length, 1))]?.bytes ?? Buffer.alloc(0);
        replaceBy(head, piece.subarray(below(piece.length + 1)), tail);
        break;
      }
      case 6:
        changed.splice(at, 1, { isClient, bytes: bytes.subarray(0, from) }, { isClient, bytes: bytes.subarray(from) });
        break;
      case 7:
        changed.splice(at, 1, ...(random() < 0.5 ? [] : [{ isClient: !isClient, bytes }]));
        break;
      default:
        changed.splice(below(changed.length + 1), 0, ...other.slice(below(other.length + 1)));
    }
    changed.length = Math.min(changed.length, maxSegments);
  }
  return changed;
}
