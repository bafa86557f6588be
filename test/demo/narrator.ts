// How the demo speaks: numbered steps, facts under them, small tables. Colour only where a terminal reads it.

const isTerminal = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
const paint = (code: number) => (text: string) => (isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text);
export const bold = paint(1);
export const dim = paint(2);
export const green = paint(32);
export const red = paint(31);
const cyan = paint(36);

let steps = 0;

export function title(text: string, ...lines: string[]): void {
  console.log(`\n${bold(text)}`);
  for (const line of lines) console.log(dim(line));
}

export function step(text: string): void {
  console.log(`\n${cyan(`${++steps}.`)} ${bold(text)}`);
}

export function command(text: string): void {
  console.log(`   ${dim("$")} ${text}`);
}

/** What something said, indented. */
export function output(text: string): void {
  for (const line of text.split("\n")) console.log(`     ${line}`);
}

export function fact(name: string, value: string): void {
  console.log(`   ${name.padEnd(30)} ${value}`);
}

/** The first column is text, the others are numbers. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const cells = [head, ...rows.map((row) => row.map((cell) => (typeof cell === "number" ? count(cell) : cell)))];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  for (const [i, row] of cells.entries()) {
    const line = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)));
    console.log(`   ${i === 0 ? dim(line.join("   ")) : line.join("   ")}`);
  }
}

export function bar(share: number): string {
  return "▇".repeat(Math.round(share * 40));
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}
